"""The progressive extension of the demo model: search, tune, search again, a short list."""
