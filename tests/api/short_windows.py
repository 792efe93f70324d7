"""Protocols, and perplexity, over windows of a few tokens."""

import ropewalk as rw
from ropewalk.evaluation.protocols.table import read_protocol

TAIL, WINDOWS = 8, 2


def protocol(name, **options):
    given = {
        "trained_length": 2048,
        "windows": 3,
        "tail_tokens": None,
        "stride": None,
        "lengths": (30, 100),
        **options,
    }
    return read_protocol(name, given.pop("trained_length"), **given)


def perplexity(model, documents, lengths, **options):
    options = {"windows": WINDOWS, "tail_tokens": TAIL, **options}
    return rw.perplexity(model, documents, lengths, **options)
