"""Published methods as encodings, their names, and configs read as encodings."""
