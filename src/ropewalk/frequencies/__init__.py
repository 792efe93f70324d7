"""How fast each pair of channels turns: one schedule a file."""
