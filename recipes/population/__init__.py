"""What ``inspect`` says of every model type that transformers knows, against its own modules."""
