"""Measuring: protocols, cells, runs and their intervals. Knows models by one small protocol."""
