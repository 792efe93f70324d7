"""What is added to embeddings, outside of the equation: one idea a file."""
