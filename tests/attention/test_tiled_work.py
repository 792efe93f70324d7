"""Nothing is done twice, and nothing grows with the square of the length."""

from dataclasses import replace

import pytest
import torch
from tile_cases import DIM, L0, MAPS, cut_by
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from attention_inputs import Slopes, qkv
from ropewalk.attention.call import Call
from ropewalk.attention.reference import attend_reference
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.softmax import Softmax
from ropewalk.attention.tiled import attend, attend_in
from ropewalk.attention.tiles import Sizes
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.rotation import Turn
from ropewalk.core.rows import CausalRows
from ropewalk.methods.build import encoding
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.positions.rerope import ReRoPE
from ropewalk.positions.self_extend import SelfExtend
from ropewalk.positions.string import ShiftedRoPE

SAME = {"rtol": 0, "atol": 1e-10}


GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)


PLAIN = encoding("none", GEOMETRY)


class Largest(TorchDispatchMode):
    """Numbers of the largest tensor that is made while it is on."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return made


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("mods", [(), (Slopes(),)])
def test_no_matrix_of_scores_is_made(name, mods):
    q, k, v = qkv(1, 2, 1, 1024, 1024, dtype=torch.float32)
    built = replace(PLAIN, position_map=MAPS[name], score_mods=mods)
    sizes = Sizes(tile_rows=64, masked_rows=32, strip_rows=32, mask_numbers=2**15)
    with cut_by(sizes), Largest() as largest:
        attend(q, k, v, built)
    # Masks by strips or pieces, or q and its turned copy for each region.
    assert largest.numbers <= 2**16


class CountedTurns:
    """Numbers of keys that were turned while it was watched, call by call."""

    def __init__(self, monkeypatch):
        self.keys = []
        write = Turn.write

        def watched(own, x, out):
            if x.ndim == 4 and x.shape[1] == 1:  # queries have two heads, or an axis of runs
                self.keys.append(x.numel())
            return write(own, x, out)

        monkeypatch.setattr(Turn, "write", watched)


@pytest.mark.parametrize(
    ("position_map", "times"),
    [
        (ReRoPE(window=8), 1),  # far keys stand at 0
        (DualChunk(chunk_size=16, local_window=4), 1),  # one place in the chunk for all regions
        (ShiftedRoPE(shift=16, window=4), 1),  # only queries are shifted
        (SelfExtend(group_size=2, window=8), 2),
    ],
)
def test_a_key_is_turned_once_for_each_of_its_positions(position_map, times, monkeypatch):
    q, k, v = qkv(1, 2, 1, 64, 64)
    counted = CountedTurns(monkeypatch)
    with cut_by(Sizes(tile_rows=16, least_rows=4)):
        attend(q, k, v, replace(PLAIN, position_map=position_map))
    assert len(counted.keys) == times
    assert sum(counted.keys) <= times * k.numel()


@pytest.mark.parametrize(
    ("position_map", "turned"),
    [
        (ReRoPE(window=8), 8),
        (DualChunk(chunk_size=16, local_window=4), 64),
        (SelfExtend(group_size=2, window=8), 64),
    ],
)
def test_a_decoding_step_turns_each_key_at_most_once(position_map, turned, monkeypatch):
    q, k, v = qkv(1, 2, 1, 1, 64)
    counted = CountedTurns(monkeypatch)
    attend(q, k, v, replace(PLAIN, position_map=position_map))
    assert sum(counted.keys) == turned * DIM


def test_a_second_layer_takes_no_cosines(monkeypatch):
    """Its call, encoding and L are those of the first: nothing is cut or taken again."""
    built = replace(PLAIN, position_map=SelfExtend(group_size=2, window=8))
    q, k, v = qkv(1, 2, 1, 9, 64)
    call, softmax = Call.causal(q, k), Softmax()
    first = attend_in(call, q, k, v, Rotary(encoding=built), softmax)
    calls = []
    angles, allowed = type(PLAIN.frequencies).angles, CausalRows.allowed
    monkeypatch.setattr(
        type(PLAIN.frequencies), "angles", lambda *a: calls.append("angles") or angles(*a)
    )
    monkeypatch.setattr(CausalRows, "allowed", lambda *a: calls.append("rows") or allowed(*a))
    assert torch.equal(attend_in(call, q, k, v, Rotary(encoding=built), softmax), first)
    assert not calls
    other = replace(built, position_map=SelfExtend(group_size=4, window=8))
    moved = attend_in(call, q, k, v, Rotary(encoding=other), softmax)
    assert (moved - first).abs().max() > 1e-3
    assert calls


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precisions_that_follow_each_other_do_not_mix(name, dtype):
    """What is kept for float32 must not serve float64."""
    built = replace(encoding("yarn:factor=4", GEOMETRY), position_map=MAPS[name])
    low = [x.to(dtype) for x in qkv(queries=13)]
    rough = attend(*low, built)
    exact = attend(*(x.double() for x in low), built)
    oracle = attend_reference(*low, built)
    assert_close(exact, oracle, **SAME)
    assert rough.dtype == dtype
    rounding = torch.finfo(dtype).eps / 2
    assert (rough.double() - oracle).abs().max() <= 60 * rounding
