"""lm-evaluation-harness with the model ``ropewalk`` and the retrieval tasks of this package."""
