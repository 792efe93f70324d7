"""The survey's properties of position encodings, drawn from our own."""
