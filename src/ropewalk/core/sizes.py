"""Sizes of memory, as people write them."""

import re

from ropewalk.core.errors import RopewalkError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[KMGT]i?B?)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def memory_in_bytes(text: str) -> int:
    """24GB, 24GiB or a number of bytes; a unit without i is decimal.

    Raises RopewalkError for anything else.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise RopewalkError(f"memory={text:.40}: expected for example 24GB, 80GiB or bytes")
    unit = (found[2] or "").upper().removesuffix("B")
    size = float(found[1]) * (1024 if unit.endswith("I") else 1000) ** _POWERS[unit[:1]]
    if not 1 <= size < 2**60:
        raise RopewalkError(f"memory={text:.40}: expected 1 byte to 2^60; add a unit")
    return int(size)
