"""How many tokens a server is asked about."""

from ropewalk.core.errors import RopewalkError
from ropewalk.verification.checks import SHORTEST, default_length

TRAINED_LENGTHS, MOST_TOKENS = 4, 4096
"""The default length: as many trained lengths, at most as many tokens or ``default_length``."""


def prompt_length(wanted: int | None, trained_length: int, admitted: int | None) -> int:
    """Tokens of the prompt.

    wanted    None for the default, within what the server admits
    admitted  tokens of the longest prompt that the server takes, where it says so

    Raises RopewalkError for fewer than 16 and for more than are admitted.
    """
    if wanted is None:
        longest = max(MOST_TOKENS, default_length(trained_length))
        default = min(TRAINED_LENGTHS * trained_length, longest)
        wanted = default if admitted is None else min(default, admitted)
    elif admitted is not None and wanted > admitted:
        raise RopewalkError(
            f"length {wanted:,}: the server admits prompts of at most {admitted:,} tokens; "
            "ask for fewer, or start it with a longer context"
        )
    if wanted < SHORTEST:
        raise RopewalkError(f"length {wanted}: expected at least {SHORTEST} tokens")
    return wanted
