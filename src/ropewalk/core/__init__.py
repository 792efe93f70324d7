"""The equation: geometry, frequencies, lengths, regions, rotation, loss. Needs torch alone."""
