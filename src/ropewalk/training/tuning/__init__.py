"""Fine-tuning of a checkpoint at another length: samplers, windows, adapters, one stage."""
