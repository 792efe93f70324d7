"""Beyond one process: jobs on the workers of a Ray cluster."""
