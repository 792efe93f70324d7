"""What a model finds in its context, by how far back it lies.

copies   a span of held-out text, other text, the span again: what its second reading costs less
         than if other text had stood in the first place
pairs    ``ab:x,cd:y,...ab:``: how often the value of the key stands first among all letters
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipes.encodings.losses import SKIPPED
from ropewalk.core.passes import FullPass
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.training.decoder import Decoder

DISTANCES = (32, 64, 96, 224, 480, 992)
"""Bytes from a span to its copy. Up to 96, both lie inside the trained length."""
SPAN = 32
CUE = 8
"""Bytes of the second reading that are not scored: from them the span can be known."""
COPIES = 4
"""Of each document."""
PAIRS = 32
PAIR_BYTES = 5
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


def recall(model: Decoder, documents: Sequence[Tensor]) -> dict[str, Any]:
    """By distance: gains of copies in nats a byte, one for each; share of pairs found."""
    scorer = TransformersScorer(model)
    return {
        "copies": {str(far): _gains(scorer, documents, far) for far in DISTANCES},
        "pairs": {str(far): _found(model, far) for far in DISTANCES},
    }


def _gains(scorer: TransformersScorer, documents: Sequence[Tensor], distance: int) -> list[float]:
    repeated, changed = [], []
    for number, ids in enumerate(documents):
        other = documents[(number + 1) % len(documents)]
        for copy in range(COPIES):
            start = SKIPPED + copy * 2048
            text = ids[start : start + distance]
            span, elsewhere = text[:SPAN], other[start : start + SPAN]
            repeated.append(torch.cat([text, span]))
            changed.append(torch.cat([elsewhere, text[SPAN:], span]))
    means = [
        scorer.token_losses(torch.stack(rows).long(), distance + CUE, FullPass()).mean(dim=-1)
        for rows in (repeated, changed)
    ]
    return [round(x, 4) for x in (means[1] - means[0]).tolist()]


@torch.no_grad()
def _found(model: Decoder, distance: int) -> float:
    rng, rows, values = np.random.default_rng(0), [], []
    for _ in range(PAIRS):
        count = distance // PAIR_BYTES
        keys = rng.choice(len(LETTERS) ** 2, size=count, replace=False)
        pairs = [(LETTERS[key // 26], LETTERS[key % 26], rng.choice(LETTERS)) for key in keys]
        text = [byte for a, b, value in pairs for byte in (a, b, ord(":"), value, ord(","))]
        rows.append([*text, pairs[0][0], pairs[0][1], ord(":")])
        values.append(pairs[0][2])
    logits = model(torch.tensor(np.array(rows)).long(), logits_to_keep=1).logits[:, -1]
    best = LETTERS[logits[:, torch.from_numpy(LETTERS.copy()).long()].argmax(dim=-1)]
    return round(float(np.mean(best == np.array(values))), 4)
