"""What transformers, vLLM, SGLang and llama.cpp really compute for a config."""
