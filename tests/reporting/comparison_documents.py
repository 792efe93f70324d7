"""Documents of comparisons, made by hand."""

import math

LENGTHS = (128, 256, 1024, 2048)


def cell(method, length, ppl, mode="full", reason=None):
    """A record; without ``ppl`` a failed one."""
    nll = None if ppl is None else math.log(ppl)
    return {
        "method": method,
        "mode": mode,
        "length": length,
        "documents": None if ppl is None else 1,
        "tokens_scored": None if ppl is None else 1024,
        "nll": nll,
        "ppl": ppl,
        "bits_per_byte": None if ppl is None else 1.5,
        "ci95": None if nll is None else [nll - 0.1, nll + 0.1],
        "ci95_over": None if nll is None else "windows",
        "seconds": None if ppl is None else 0.25,
        "peak_memory_bytes": None,
        "status": "failed" if ppl is None else "ok",
        "reason": (reason or "out of memory") if ppl is None else None,
    }


def document(rows, lengths=LENGTHS, modes=("full",)):
    cells = [
        cell(method, length, ppl, mode)
        for mode in modes
        for method, ppls in rows.items()
        for length, ppl in zip(lengths, ppls, strict=True)
    ]
    return {
        "model": "demo",
        "trained_length": 256,
        "protocol": "tail:tokens=128,windows=8",
        "run_dir": "run",
        "cells": cells,
    }


ROWS = {
    "yarn:factor=8": (180.0, 181.0, 190.0, 195.0),
    "none": (180.0, 180.0, 250.0, 310.0),
    "linear:factor=8": (205.0, 204.0, 220.0, None),
}
