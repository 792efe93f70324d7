"""Ollama 0.32.15: its own converter of safetensors, and llama.cpp behind it."""
