"""Does a model compute the same however its tokens are fed: ways, tolerances, verdicts."""
