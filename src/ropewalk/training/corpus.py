"""A corpus as one long row of token ids, and the batches that a step sees.

The batch of a step is a pure function of (seed, step): nothing about the data has to be
saved for a run to go on where it stopped.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from ropewalk.core.errors import RopewalkError

END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(files: Iterable[Path], vocab_size: int) -> Tokenizer:
    """Byte-level BPE over ``files``; every byte has a token, so nothing is ever unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(file) for file in files], trainer)
    return tokenizer


def encode_files(tokenizer: Tokenizer, files: Iterable[Path]) -> Tensor:
    """Token ids ``[n]`` (int32) of the files in the given order, each closed by END_OF_TEXT."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    rows = []
    for file in files:
        ids = tokenizer.encode(file.read_text(encoding="utf-8")).ids
        rows.append(np.array([*ids, end], dtype=np.int32))
    return torch.from_numpy(np.concatenate(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Random windows of ``length`` tokens plus the token after each."""

    length: int
    batch_size: int
    seed: int = 0

    def batch(self, tokens: Tensor, step: int) -> Tensor:
        """Ids ``[batch_size, length + 1]`` (int64) of training step ``step``.

        Raises RopewalkError for a corpus shorter than one window.
        """
        if len(tokens) <= self.length:
            raise RopewalkError(
                f"a corpus of {len(tokens)} tokens: expected at least {self.length + 1}, a window "
                "and the token after it; give more text or a shorter length"
            )
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        last = len(tokens) - self.length - 1
        starts = torch.randint(0, last + 1, (self.batch_size,), generator=generator)
        return tokens[starts[:, None] + torch.arange(self.length + 1)].long()
