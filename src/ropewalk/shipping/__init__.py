"""Checkpoints on the disk that state a method: audited as they lie there."""
