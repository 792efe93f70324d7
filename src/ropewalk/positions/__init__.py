"""Position maps: which distance a pair of tokens is shown. One idea a file."""
