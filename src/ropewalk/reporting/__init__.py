"""Records as tables, sentences, pictures and files. Knows nothing of how they came about."""
