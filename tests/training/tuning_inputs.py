"""A tiny checkpoint with a tokenizer of bytes, and texts, for tests of tuning."""

import functools
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import ropewalk as rw
from recipes.families.sharpened import L0, tiny
from ropewalk.data import demo_book

BOOK = demo_book().read_text("utf-8")
TRAINED = L0
LENGTH = 4 * L0


def byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: n for n, each in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def checkpoint(folder, *, name="llama", tokenizer=True, **changes):
    """A folder with a sharpened model of 256 entries."""
    model = tiny(name, dtype=torch.float32, vocab_size=256, num_hidden_layers=2, **changes)
    model.save_pretrained(folder)
    if tokenizer:
        byte_tokenizer().save_pretrained(folder)
    return folder


def text(folder, name="text.txt", characters=20_000, start=30_000):
    file = Path(folder) / name
    file.write_text(BOOK[start : start + characters].encode("ascii", "replace").decode())
    return file


@functools.wraps(rw.tune)
def quick_tune(source, method, length=LENGTH, **words):
    """Three steps of two windows."""
    settings = {"steps": 3, "batch": 2, "windows": 2, "evaluate_every": 0, "save_every": 1}
    return rw.tune(source, method, length, **{**settings, **words})
