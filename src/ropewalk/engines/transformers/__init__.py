"""transformers 5.23.0: frequencies computed on every forward pass."""
