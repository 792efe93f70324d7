"""verify: what is right passes, what is wrong is seen, and the model is left alone."""

import copy
import json

import pytest
import torch
from torch.testing import assert_close
from verified_models import DYNAMIC, LENGTH, SHORT, by_method, figure, predictor, small, statuses

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, left_padded, logits, token_ids
from ropewalk.api.verification import verify_stock
from ropewalk.cli.main import main
from ropewalk.core.encoding import KeyStorage
from ropewalk.integrations.modes import at_rest
from ropewalk.verification.checks import (
    CHECKS,
    Reference,
)
from ropewalk.verification.subject import DEFAULT_SPECS

PAIRS = 8


LONGROPE = {
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1 + i / 16 for i in range(PAIRS)],
        "long_factor": [1 + i / 4 for i in range(PAIRS)],
        "factor": 4.0,
        "original_max_position_embeddings": L0,
    },
    "max_position_embeddings": 4 * L0,
}


IDS, INF = torch.tensor([5]), float("inf")


PATH_DEPENDENT = {"dynamic_ntk:policy=whole_sequence", "dynamic_ntk:policy=at_birth"}


@pytest.fixture(scope="module")
def longrope():
    return small(**LONGROPE)


def unpadded(padding, batch, length, device):
    """Positions 0 .. n-1 for a left-padded row: the defect of a plain forward."""
    return torch.arange(length, device=device).expand(batch, length)


def ignore_padding(monkeypatch):
    monkeypatch.setattr("ropewalk.integrations.call.own_positions", unpadded)


def keep_keys_as_born(monkeypatch):
    monkeypatch.setattr(
        "ropewalk.core.encoding.Encoding.key_storage", property(lambda _: KeyStorage.ROTATED)
    )


# What is right passes.


@pytest.mark.parametrize(
    "dtype", [pytest.param(torch.float64, marks=pytest.mark.slow), torch.float32]
)
def test_every_default_method_keeps_its_promises(dtype):
    records = by_method(rw.verify(small(dtype=dtype)))
    assert tuple(records) == DEFAULT_SPECS
    for method, checks in records.items():
        depends = "differs, as declared" if method in PATH_DEPENDENT else "ok"
        expected = {"chunked": depends, "decode": depends, "padded": "ok", "history": "ok"}
        assert statuses(checks) == expected, method


@pytest.mark.parametrize("spec", sorted(PATH_DEPENDENT))
def test_what_depends_on_the_path_is_shown_with_its_figures(spec):
    decode = by_method(rw.verify(small(), [spec]))[spec]["decode"]
    assert figure(decode) > 1e-2 > decode["tolerance"]
    assert 0 < decode["max_total_variation"] <= 1
    assert decode["sentence"].endswith("as its length policy declares")


def test_a_model_in_bfloat16_passes():
    records = rw.verify(small(dtype=torch.bfloat16), ["none", "dynamic_ntk"])
    assert {record["status"] for record in records} == {"ok"}


def test_a_sliding_window_passes():
    records = rw.verify(small("qwen2 sliding"), ["native", "yarn", "dynamic_ntk"])
    assert {record["status"] for record in records} == {"ok"}


# The library's own path.


@pytest.mark.parametrize("config", [{}, LONGROPE, DYNAMIC], ids=["default", "longrope", "dynamic"])
def test_stock_is_measured_as_it_is(config):
    model = small(**config)
    consistent = not config
    checks = by_method(verify_stock(model))["stock"]
    assert statuses(checks)["decode"] == ("ok" if consistent else "failed")
    if consistent:
        assert set(statuses(checks).values()) == {"ok"}
    else:
        assert figure(checks["decode"]) > 1e-2
        assert figure(checks["padded"]) > 1e-2 or config is LONGROPE


def test_stock_dynamic_has_a_memory(dynamic):
    checks = by_method(verify_stock(dynamic))["stock"]
    assert set(statuses(checks).values()) == {"failed"}
    assert "remembers an earlier call" in checks["history"]["sentence"]


def test_stock_longrope_has_none(longrope):
    assert by_method(verify_stock(longrope))["stock"]["history"]["status"] == "ok"


@pytest.mark.parametrize("config", [DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
def test_ours_is_right_where_stock_is_not(config, tmp_path):
    for name in ("short_factor", "long_factor"):
        values = LONGROPE["rope_parameters"][name]
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    lists = ",".join(f"{n}=@{tmp_path / n}.json" for n in ("short_factor", "long_factor"))
    promised = ["dynamic_ntk", "yarn+log_n", f"longrope:{lists},factor=4"]
    records = by_method(rw.verify(small(**config), ["native", "native+log_n", *promised]))
    for method in promised:
        assert set(statuses(records[method]).values()) == {"ok"}, method
    for method in ("native", "native+log_n"):
        assert records[method]["decode"]["status"] == "differs, as declared"
        assert figure(records[method]["decode"]) > 1e-2


def test_figures_are_those_of_logits_compared_by_hand(dynamic, sample):
    """The library's path, by plain calls of freshly copied models."""
    long, short = sample.long[None], sample.short[None]
    assert (long.shape[1], short.shape[1]) == (LENGTH, SHORT)
    full = logits(copy.deepcopy(dynamic), long)
    alone = logits(copy.deepcopy(dynamic), short)
    stepwise = in_calls(copy.deepcopy(dynamic), long, [1] * LENGTH)
    both, mask = left_padded(short, LENGTH, long)
    given = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    beside, placed = (
        logits(copy.deepcopy(dynamic), both, attention_mask=mask, **inputs)[:1, LENGTH - SHORT :]
        for inputs in ({}, given)
    )
    used = copy.deepcopy(dynamic)
    logits(used, long)
    after = logits(used, short)
    checks = by_method(verify_stock(dynamic))["stock"]
    for check, expected, ways in (
        ("decode", full, [stepwise]),
        ("padded", alone, [beside, placed]),
        ("history", alone, [after]),
    ):
        differences = [float((expected - found).abs().max()) for found in ways]
        found = ways[differences.index(max(differences))]
        variation = float((expected.softmax(-1) - found.softmax(-1)).abs().sum(-1).max() / 2)
        assert_close(figure(checks[check]), max(differences), rtol=0, atol=1e-9)
        assert_close(checks[check]["max_total_variation"], variation, rtol=0, atol=1e-9)


def test_the_first_position_that_differs_is_named(dynamic):
    """Decoding turns key 0 .. 32 as trained; row 32 is the first beyond the trained length.

    The full pass turns all rows under the base of 48 tokens, so the first row with a key at
    another position than its own, row 1, differs already.
    """
    sentence = by_method(verify_stock(dynamic))["stock"]["decode"]["sentence"]
    assert sentence.startswith(f"{LENGTH} tokens one by one: logits differ")
    assert "first at position 1 (trained length 32)" in sentence


# What is wrong is seen.


@pytest.mark.parametrize(
    ("break_it", "check"), [(ignore_padding, "padded"), (keep_keys_as_born, "decode")]
)
def test_a_defect_is_seen_and_ends_in_status_1(folder, break_it, check, monkeypatch, capsys):
    assert main(["verify", folder, "--method", "dynamic_ntk"]) == 0
    capsys.readouterr()
    break_it(monkeypatch)
    assert main(["verify", folder, "--method", "dynamic_ntk"]) == 1
    output = capsys.readouterr().out
    assert f"dynamic_ntk, {check}: " in output
    assert "Of 1: broken promises: 1." in output


def test_a_memory_of_ours_would_be_seen(monkeypatch):
    """A policy that keeps the longest length it was asked for."""
    from ropewalk.core.lengths import PerQuery

    seen, right = [L0], PerQuery.row_lengths

    def remembering(self, positions, sequence_lengths):
        seen.append(int(right(self, positions, sequence_lengths).max()))
        return torch.full_like(positions, max(seen))

    monkeypatch.setattr(PerQuery, "row_lengths", remembering)
    checks = by_method(rw.verify(small(), ["dynamic_ntk"]))["dynamic_ntk"]
    assert checks["history"]["status"] == "failed"
    assert "a result depends on what ran before" in checks["history"]["sentence"]


def test_a_model_whose_logits_are_not_numbers_is_refused():
    model = small()
    with torch.no_grad():
        model.lm_head.weight[3, 0] = float("nan")
    with pytest.raises(rw.RopewalkError, match="not finite"):
        verify_stock(model)
    with pytest.raises(rw.RopewalkError, match="by nan of the largest"):
        rw.verify(model, ["none"])


def test_entries_that_a_family_masks_are_no_difference():
    """Of the head's own logits, -inf in both is the same."""
    model = small()
    model.lm_head.register_forward_hook(lambda module, args, out: out.index_fill(-1, IDS, -INF))
    records = verify_stock(model)
    assert {record["status"] for record in records} == {"ok"}
    assert max(record["tolerance"] for record in records) < 1


def snapshot(model):
    """All that a call may change, tensors as lists: also plain attributes of rotary modules."""
    values = {**model.state_dict(), **dict(model.named_buffers())}
    values |= {f"rotary {name}": value for name, value in vars(model.model.rotary_emb).items()}
    values |= {name: (id(module), module.training) for name, module in model.named_modules()}
    values |= {"config": id(model.config), "settings": model.config.to_dict()}
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
        if not name.startswith("rotary _")
    }


# The model is left alone.


@pytest.mark.parametrize("config", [DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
@pytest.mark.parametrize("check", [rw.verify, verify_stock], ids=["ours", "stock"])
def test_the_model_is_what_it_was(config, check):
    """Also one that has run a long call, whose memory is its owner's."""
    model = small(**config).train()
    logits(model, token_ids(1, 60))
    before, ids = snapshot(model), token_ids(1, LENGTH)
    expected = logits(copy.deepcopy(model), ids)
    check(model, **({"specs": ["native", "dynamic_ntk", "none"]} if check is rw.verify else {}))
    assert snapshot(model) == before
    assert torch.equal(logits(model, ids), expected)


def test_what_ran_before_does_not_change_the_records(dynamic):
    used = copy.deepcopy(dynamic)
    logits(used, token_ids(1, 60))
    assert verify_stock(used) == verify_stock(dynamic)


def test_the_model_is_what_it_was_after_an_error(dynamic, monkeypatch):
    before = snapshot(dynamic)

    def fail(reference):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("ropewalk.verification.subject.CHECKS", {"chunked": fail})
    with pytest.raises(RuntimeError, match="out of memory"):
        rw.verify(dynamic, ["dynamic_ntk"])
    assert snapshot(dynamic) == before


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_by_itself_leaves_the_model_alone(dynamic, sample, name):
    reference, before = Reference(predictor(dynamic), sample), snapshot(dynamic)
    CHECKS[name](reference)
    assert snapshot(dynamic) == before


def test_modules_that_share_a_rotary_share_its_copy(dynamic):
    model = copy.deepcopy(dynamic)
    rotary = model.model.rotary_emb
    model.model.layers[0].rotary_emb = rotary
    with at_rest(model):
        copied = model.model.rotary_emb
        assert copied is not rotary
        assert model.model.layers[0].rotary_emb is copied
        assert copied.config is rotary.config
    assert model.model.rotary_emb is model.model.layers[0].rotary_emb is rotary
