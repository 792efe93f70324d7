"""Running servers, asked over HTTP: vLLM, SGLang, llama.cpp, and what speaks OpenAI's protocol."""
