"""Tasks, one a file: what is measured of a model at a length."""
