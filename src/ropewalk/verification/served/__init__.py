"""Which encoding a running server computes: what it may compute, and what was found."""
