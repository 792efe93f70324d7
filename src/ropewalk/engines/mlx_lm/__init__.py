"""MLX-LM 0.32.2: frequencies made when the model is loaded, by each model's own file."""
