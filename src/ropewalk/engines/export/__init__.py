"""A method as config keys or flags of one engine."""
