"""The one exception type for bad input.

RopewalkError (a ValueError)    what was given, what was expected, and the remedy
"""


class RopewalkError(ValueError):
    """Bad input: the message says what was given, what was expected, and the remedy."""
