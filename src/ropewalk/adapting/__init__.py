"""Joins training with measuring, engines and checkpoints: a tuning, from words to a folder."""
