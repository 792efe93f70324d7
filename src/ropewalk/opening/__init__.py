"""Opens what users name: a config becomes a shape, a checkpoint a model with its identity."""
