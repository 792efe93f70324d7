"""Joins measuring with models: a comparison, from words to a run folder."""
