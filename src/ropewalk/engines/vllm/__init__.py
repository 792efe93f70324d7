"""vLLM 0.33.0: static tables, built when the model is loaded."""
