"""Loss by length: with nearly the whole context before each byte, and over whole windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipes.encodings.study import LENGTHS
from ropewalk.core.passes import FullPass
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.training.decoder import Decoder

TAIL = 32
"""Last bytes of a window that are scored."""
WINDOWS = 8
"""Windows of a document whose tails are scored."""
SKIPPED = 20_000
"""Bytes at the start of a document that are left out: titles and contents."""
BYTES_AT_ONCE = 8192


def losses(model: Decoder, documents: Sequence[Tensor]) -> dict[str, Any]:
    """By length: mean nats a byte of tails and of whole windows, and those of each tail."""
    scorer, found = TransformersScorer(model), {}
    for length in LENGTHS:
        tails = [_tails(scorer, ids.long(), length) for ids in documents]
        wholes = [_wholes(scorer, ids.long(), length) for ids in documents]
        found[str(length)] = {
            "tail_nats": round(float(np.array(tails).mean()), 4),
            "whole_windows_nats": round(float(np.mean(wholes)), 4),
            "tails": [[round(x, 4) for x in each] for each in tails],
        }
    return found


def _tails(scorer: TransformersScorer, ids: Tensor, length: int) -> list[float]:
    """Mean loss of each window's last bytes; windows end at the same places at all lengths."""
    ends = SKIPPED + LENGTHS[-1] * (1 + torch.arange(WINDOWS))
    means = []
    for some in ends.split(max(1, BYTES_AT_ONCE // length)):
        batch = torch.stack([ids[end - length : end] for end in some.tolist()])
        means.append(scorer.token_losses(batch, length - TAIL, FullPass()).mean(dim=-1))
    return torch.cat(means).tolist()


def _wholes(scorer: TransformersScorer, ids: Tensor, length: int) -> float:
    """Mean loss over windows side by side, every byte but the first of each."""
    count = LENGTHS[-1] // length
    batch = ids[SKIPPED : SKIPPED + count * length].view(count, length)
    parts = batch.split(max(1, BYTES_AT_ONCE // length))
    return float(torch.cat([scorer.token_losses(x, 1, FullPass()) for x in parts]).mean())
