"""What is done to a logit besides turning query and key: one idea a file."""
