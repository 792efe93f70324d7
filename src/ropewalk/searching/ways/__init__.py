"""Ways to search: which candidates are tried, in which order."""
