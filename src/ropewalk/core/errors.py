"""The one exception type for bad input.

RopewalkError (a ValueError)    what was given, what was expected, and the remedy
"""


class RopewalkError(ValueError):
    """Bad input: the message says what was given, what was expected, and the remedy."""


def first_line(error: BaseException) -> str:
    """Of what an error says; the name of its type where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
