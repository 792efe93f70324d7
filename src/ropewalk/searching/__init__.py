"""Search of LongRoPE's factors against a callable that measures candidates; knows no model."""
