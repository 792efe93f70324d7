"""Joins training and searching with measuring, engines and checkpoints: a search, a tuning, and
both in stages, from words to a folder."""
