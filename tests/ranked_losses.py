"""Losses of tiny models over ranks, beside those of one process alone."""

import json
from contextlib import nullcontext
from functools import partial
from unittest.mock import patch

import torch

from recipes.families.sharpened import tiny, token_ids
from ropewalk.api import compare
from ropewalk.api.verification import verify_checkpoint
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, FullPass, StreamPass
from ropewalk.data import demo_book, demo_model
from ropewalk.integrations import rotary
from ropewalk.integrations.call import CallRows
from ropewalk.integrations.ranked.feeding import OverRanks
from ropewalk.integrations.ranked.scoring import shared_losses
from ropewalk.integrations.ranked.together import follow
from ropewalk.integrations.session import Session
from ropewalk.methods.spec import parse_spec
from ropewalk.ranks.ranks import LEADER

TOKENS = 71
"""No multiple of the ranks, and twice the trained length."""
PASSES = (FullPass(), StreamPass(), StreamPass(40), ChunkedPass(23), ChunkedPass(35))
"""The last chunk of the last has one token: fewer than there are ranks."""
MODELS = {
    "llama": ("llama", {"num_hidden_layers": 2}),
    "one key head": ("llama", {"num_hidden_layers": 2, "num_key_value_heads": 1}),
    "three key heads": (
        "llama",
        {
            "num_hidden_layers": 2,
            "hidden_size": 96,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
        },
    ),
    "gemma3": ("gemma3_text wide", {}),
}
MORE_MODELS = {
    name: (name, {})
    for name in ("gemma2", "gpt_oss", "smollm3", "cohere2", "deepseek_v3", "hunyuan_v1_dense")
}
CONVOLVING = (
    "lfm2",
    {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"], "block_ff_dim": 96},
)
"""A family whose tokens meet in a convolution too."""
ONE_MAP = ("native", "yarn:factor=4")
METHODS = (
    *ONE_MAP,
    "dynamic_ntk",
    "dynamic_ntk:policy=whole_sequence",
    "dynamic_ntk:policy=at_birth",
    "rerope:window=16",
    "self_extend:group_size=4,window=16",
    "dual_chunk:chunk_size=24,local_window=8",
    "yarn:factor=4+log_n",
    "yarn:factor=4+alibi",
    "alibi",
)


FEW = (
    *((method, PASSES[-1]) for method in METHODS),
    *((method, PASSES[0]) for method in METHODS if "dual" in method or "at_birth" in method),
    ("dynamic_ntk:policy=whole_sequence", PASSES[0]),
    ("dynamic_ntk:policy=whole_sequence", PASSES[2]),
    ("dynamic_ntk:policy=at_birth", PASSES[2]),
)
"""Chunks show what a full pass shows, but for what sees where its call ends."""
OTHERWISE = "refused otherwise by one and by several"
MANY = tuple((method, split) for method in METHODS for split in PASSES)


def exact_norms(model):
    """The library's norms round to float32 in a float64 model, now up, now down."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            one = 1.0 if type(module).__name__.startswith("Gemma") else 0.0
            module.forward = _exact(module, one)
    return model


def _exact(module, one):
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", 1e-6))
    weight = getattr(module, "weight", torch.ones(()))

    def forward(x):
        scaled = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
        return scaled * (weight + one)

    return forward


def _own_largest(rows):
    """L of a rank that knows its own tokens alone."""
    index = rows.query_index if rows.share is None else rows.share.own(rows.query_index)
    return index.amax(dim=-1) + 1


FAULTS = {
    "each rank takes its own largest position as L": (
        "dynamic_ntk:policy=whole_sequence",
        lambda: patch.object(CallRows, "sequence_lengths", property(_own_largest)),
    ),
    "a rotary module takes its own largest position as L": (
        "dynamic_ntk:policy=at_birth",
        lambda: patch.object(rotary, "sequence_ends", lambda places: places.amax(dim=-1) + 1),
    ),
    "every rank has the biases of the first heads": (
        "yarn:factor=4+alibi",
        lambda: patch.object(Encoding, "of_heads", lambda encoding, first, heads: encoding),
    ),
}


class Pair:
    """A model twice: one copy for each process alone, one for the ranks together."""

    def __init__(self, ranks, family, changes):
        self.ranks = ranks
        self.alone = Session(exact_norms(tiny(family, **changes)))
        shared = exact_norms(tiny(family, **changes))
        self.shared = Session(shared, feeding=OverRanks(ranks=ranks))

    def difference(self, method, split, fault=nullcontext):
        """The largest, in nats; or why a method is refused, on both."""
        spec, (ids,) = parse_spec(method), token_ids(1, TOKENS)
        alone, refusal = _used(self.alone, spec, len(ids), split)
        shared, same = _used(self.shared, spec, len(ids), split)
        if refusal != same:
            return f"{OTHERWISE}: {refusal}, {same}"
        if alone is None or shared is None:
            return refusal
        expected = alone.token_losses(ids, 1, split)
        with fault():
            own = shared_losses(self.shared.model, self.ranks, ids, 1, split)
        return float((own - expected).abs().max())


def _used(session, spec, length, split):
    """The model under a method, or why it is refused."""
    try:
        return session.use(spec, length, split), None
    except RopewalkError as error:
        return None, str(error)


def losses(ranks, models, cases):
    """``model|method|pass`` -> the difference from one process alone."""
    found = {}
    for name, (family, changes) in models.items():
        pair = Pair(ranks, family, changes)
        for method, split in cases:
            found[f"{name}|{method}|{split.name}"] = pair.difference(method, split)
    return found


def faulty(ranks):
    """The difference that each planted fault makes."""
    pair = Pair(ranks, "llama", {"num_hidden_layers": 2})
    return {
        fault: pair.difference(method, FullPass(), planted)
        for fault, (method, planted) in FAULTS.items()
    }


def few(ranks, folder):
    """Every kind of method on every kind of model, every fault, and commands that ranks follow."""
    refused = losses(ranks, {"lfm2": CONVOLVING}, FEW[:1])
    _write(ranks, folder, {**losses(ranks, MODELS, FEW), **faulty(ranks), **refused})
    _led(ranks, partial(commands, ranks, folder))
    _, planted = FAULTS["each rank takes its own largest position as L"]
    with planted():
        _led(ranks, partial(broken, ranks, folder))


def _led(ranks, work):
    """Work of the leader, which has the others follow."""
    if ranks.rank == LEADER:
        work()
        ranks.told(None)
    else:
        follow(ranks)


REQUEST = {
    "methods": ["none", "dynamic_ntk"],
    "lengths": [301],
    "tail_tokens": 16,
    "windows": 2,
    "modes": ["full", "chunked:100", "decode"],
    "tasks": ["loss", "passkey"],
    "trials": 2,
}


def commands(ranks, folder):
    """A comparison over ranks and one without, and a verification."""
    where = {"batch": 2, "texts": folder / "text.txt"}
    (folder / "text.txt").write_text(demo_book().read_text("utf-8")[20_000:28_000], "utf-8")
    both = {
        "over ranks": compare(
            str(demo_model()), out=folder / "over ranks", ranks=ranks, **where, **REQUEST
        ).document,
        "alone": compare(str(demo_model()), out=folder / "alone", **where, **REQUEST).document,
    }
    (folder / "compared.json").write_text(json.dumps(both))
    tiny(num_hidden_layers=2, dtype=torch.float32).save_pretrained(folder / "tiny")
    methods = ("yarn", "rerope", "dynamic_ntk:policy=at_birth")
    verified = verify_checkpoint(folder / "tiny", methods=methods, ranks=ranks)
    (folder / "verified.json").write_text(json.dumps(verified))


def broken(ranks, folder):
    """A verification of ranks that take their own lengths."""
    methods = ("dynamic_ntk:policy=whole_sequence",)
    verified = verify_checkpoint(folder / "tiny", methods=methods, ranks=ranks)
    (folder / "broken.json").write_text(json.dumps(verified))


def many(ranks, folder):
    """All passes, and more families."""
    found = losses(ranks, MODELS, MANY)
    _write(ranks, folder, {**found, **losses(ranks, MORE_MODELS, MANY)})


def _write(ranks, folder, found):
    every = ranks.each_has(found)
    assert all(each == every[0] for each in every)
    if ranks.rank == LEADER:
        (folder / "found.json").write_text(json.dumps(found))
