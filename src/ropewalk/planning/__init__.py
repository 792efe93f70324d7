"""What reaches a length, the memory of the key cache, and what to recommend."""
