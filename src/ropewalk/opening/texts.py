"""Token ids to feed a checkpoint: of a text, or any."""

from pathlib import Path

import torch
from torch import Tensor

from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_book
from ropewalk.evaluation.documents import Document
from ropewalk.integrations.loading import LoadedModel


def first_tokens(loaded: LoadedModel, text: str | Path | None, tokens: int) -> Tensor:
    """Ids int64 ``[tokens]`` of a text, by default the bundled book; without a tokenizer, random
    ones. Raises RopewalkError for a text that is too short or cannot be read.
    """
    if loaded.tokenizer is None and text is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(loaded.model.config.vocab_size, (tokens,), generator=generator)
    path = demo_book() if text is None else Path(text)
    ids = Document.read(path, loaded.require_tokenizer()).ids
    if len(ids) < tokens:
        raise RopewalkError(
            f"{path}: {len(ids):,} tokens, expected at least {tokens:,}; give a longer --text, or "
            "a shorter --length"
        )
    return ids[:tokens]
