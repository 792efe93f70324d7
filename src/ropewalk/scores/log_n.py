"""Log-n scaling: logits grow with the logarithm of the keys a row sees, so attention stays sharp.

    tau(m) = ln(m + 1) / ln B              LogN
    tau(m) = max(1, ln(m + 1) / ln B)      FlooredLogN

m + 1   keys that row m sees
B       base_length: where tau is 1, normally the trained length

Source: Su 2021 and 2023, kexue.fm/archives/8823 and 9708 (attention entropy independent of n).
Deviation: models trained with it use LogN; for models trained without it, released code floors
    tau at 1, so that nothing changes up to the trained length.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.core.score_mods import ScoreMod


@dataclass(frozen=True, slots=True, kw_only=True)
class LogN(ScoreMod):
    """tau(m) = ln(m + 1) / ln base_length: a model must have been trained with it."""

    base_length: int

    def __post_init__(self) -> None:
        _check(self.base_length)

    def query_scale(self, rows: Tensor) -> Tensor:
        return torch.log(rows.double() + 1) / math.log(self.base_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlooredLogN(ScoreMod):
    """tau(m) = max(1, ln(m + 1) / ln base_length): plain attention up to base_length."""

    base_length: int

    def __post_init__(self) -> None:
        _check(self.base_length)

    def query_scale(self, rows: Tensor) -> Tensor:
        return (torch.log(rows.double() + 1) / math.log(self.base_length)).clamp(min=1)


def _check(base_length: int) -> None:
    if not 2 <= base_length <= 2**40:
        raise RopewalkError(f"base_length={base_length}: expected 2 to 2^40 tokens")
