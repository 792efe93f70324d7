"""Ranks: processes that read one long sequence together."""
