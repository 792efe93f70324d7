"""A model of known losses, and documents, for rules of measuring."""

import torch

from ropewalk.evaluation.documents import Document

BOS = 49


def document(tokens: int, opening=(BOS,)) -> Document:
    ids = torch.randint(0, 48, (tokens,), generator=torch.Generator().manual_seed(tokens))
    return Document(
        name=f"{tokens} tokens", ids=ids, byte_lengths=torch.ones_like(ids), opening=opening
    )
