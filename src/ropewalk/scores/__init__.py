"""What is done to a logit besides rotating query and key: one idea a file."""
