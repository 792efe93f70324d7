"""A length as typed, in tokens, where a config says the trained length."""

from collections.abc import Mapping
from typing import Any, overload


@overload
def tokens_of(wanted: None, config: Mapping[str, Any]) -> None: ...
@overload
def tokens_of(wanted: int | str, config: Mapping[str, Any]) -> int: ...
def tokens_of(wanted: int | str | None, config: Mapping[str, Any]) -> int | None:
    """Tokens of what ``read_length`` returned; None stays None. RopewalkError for a bad config."""
    from ropewalk.api.shapes import shape_of
    from ropewalk.evaluation.request import length_in_tokens

    if not isinstance(wanted, str):
        return wanted
    return length_in_tokens(wanted, shape_of(config).trained_length)
