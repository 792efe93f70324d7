"""llama.cpp 0c1e57098: what the converter writes, and what the graph makes of it."""
