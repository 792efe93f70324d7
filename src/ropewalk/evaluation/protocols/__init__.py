"""Protocols, one rule of scoring a file; ``table`` names them."""
