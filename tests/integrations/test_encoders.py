"""Bidirectional models: `native` is the model itself, and a padded row is what it is alone.

There is no decoding and no cache; every row's L is the length of its own sequence.
"""

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModel, AutoModelForMaskedLM

import ropewalk as rw
from recipes.families.sharpened import ENCODERS, L0, left_padded, logits, sharpen, tiny, token_ids
from ropewalk.cli.main import main
from ropewalk.core.rows import Rows
from ropewalk.integrations.call import Horizon
from ropewalk.integrations.scoring import TransformersScorer

LENGTH, SHORT = 80, 57
SPECS = ("ntk_aware:factor=2.5", "dynamic_ntk", "dynamic_ntk:policy=at_birth", "log_n")
SAME = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(scope="module")
def nomic():
    return tiny("nomic_bert")


def base_at(length):
    """Dynamic NTK with alpha 2 and heads of 16, over nomic's base of 1,000."""
    return 1000.0 * (2 * max(length, L0) / L0 - 1) ** (16 / 14)


def padding_gap(model):
    """How far both rows of a padded batch are from what they are alone."""
    ids, mate = token_ids(1, SHORT), token_ids(1, LENGTH, seed=1)
    both, mask = left_padded(ids, LENGTH, mate)
    padded = logits(model, both, attention_mask=mask)
    short = (padded[:1, LENGTH - SHORT :] - logits(model, ids)).abs().max()
    return max(short.item(), (padded[1:] - logits(model, mate)).abs().max().item())


@pytest.mark.parametrize("name", ENCODERS)
def test_native_is_the_model_itself(name):
    model, ids = tiny(name), token_ids(2, LENGTH)
    stock = logits(model, ids)
    with rw.extend(model, "native") as extension:
        assert extension.layout.horizon is Horizon.BOTH_WAYS
        assert_close(logits(model, ids), stock, rtol=0, atol=2e-6)
    with rw.extend(model, "native+temperature:tau=1"):  # through our own attention
        assert_close(logits(model, ids), stock, rtol=0, atol=3e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_padded_row_is_what_it_is_alone(name):
    model = tiny(name)
    stock = logits(model, token_ids(1, LENGTH))
    for spec in ("ntk_aware:factor=2.5", "dynamic_ntk"):
        with rw.extend(model, spec):
            assert padding_gap(model) < 1e-9
            assert (logits(model, token_ids(1, LENGTH)) - stock).abs().max() > 1e-3


@pytest.mark.parametrize("spec", SPECS)
def test_padding_changes_nothing_under_any_method(nomic, spec):
    with rw.extend(nomic, spec):
        assert padding_gap(nomic) < 1e-9


@pytest.mark.parametrize("policy", ["per_query", "whole_sequence", "at_birth"])
@pytest.mark.parametrize("length", [20, LENGTH])
def test_every_row_sees_the_length_of_its_own_sequence(nomic, policy, length):
    ids = token_ids(1, length)
    with rw.extend(nomic, f"dynamic_ntk:policy={policy}"):
        found = logits(nomic, ids)
    with rw.extend(nomic, f"abf:rope_theta={base_at(length)!r}"):
        assert_close(found, logits(nomic, ids), **SAME)


def test_a_model_without_a_head_is_extended_too():
    model = sharpen(AutoModel.from_config(tiny("nomic_bert").config).eval()).double()
    ids, mate = token_ids(1, SHORT), token_ids(1, LENGTH, seed=1)
    both, mask = left_padded(ids, LENGTH, mate)
    with rw.extend(model, "dynamic_ntk"), torch.no_grad():
        padded = model(both, attention_mask=mask).last_hidden_state
        assert_close(padded[:1, LENGTH - SHORT :], model(ids).last_hidden_state, **SAME)
        assert_close(padded[1:], model(mate).last_hidden_state, **SAME)


# Mutants.


def test_ignored_padding_is_caught(nomic, monkeypatch):
    """Positions 0 .. n-1 for a left-padded row: distances are right, its length is not."""

    def unpadded(padding, batch, length, device):
        return torch.arange(length).expand(batch, length)

    monkeypatch.setattr("ropewalk.integrations.call.own_positions", unpadded)
    with rw.extend(nomic, "dynamic_ntk"):
        assert padding_gap(nomic) > 1e-3


def test_the_length_of_the_batch_is_caught(nomic, monkeypatch):
    def longest(rows):
        return (rows.query_positions.amax() + 1).expand(len(rows.query_positions))

    monkeypatch.setattr(Rows, "sequence_lengths", property(longest))
    with rw.extend(nomic, "dynamic_ntk"):
        assert padding_gap(nomic) > 1e-3


# Refusals.


@pytest.mark.parametrize("spec", ["rerope", "self_extend:factor=2", "dual_chunk"])
def test_regions_of_the_causal_triangle_are_refused_by_name(nomic, spec):
    with pytest.raises(rw.RopewalkError, match="nomic_bert is bidirectional") as error:
        rw.extend(nomic, spec)
    assert "\n" not in str(error.value)


def test_it_has_no_loss_to_measure(nomic):
    for model in (nomic, nomic.nomic_bert):
        with pytest.raises(rw.RopewalkError, match="predicts no next token"):
            TransformersScorer(model)


@pytest.mark.parametrize("inputs", [{}, {"attention_mask": torch.ones(1, 50, dtype=torch.long)}])
def test_packed_sequences_are_refused(nomic, inputs):
    positions = torch.cat([torch.arange(13), torch.arange(37)])[None]
    for spec in ("dynamic_ntk", "ntk_aware:factor=2"):
        with rw.extend(nomic, spec), pytest.raises(rw.RopewalkError, match="position_ids"):
            logits(nomic, token_ids(1, 50), position_ids=positions, **inputs)


# verify, and the command line.


def test_verify_checks_what_an_encoder_can_be_put_to(nomic):
    for model in (nomic, nomic.nomic_bert):
        records = rw.verify(model, ["native", "dynamic_ntk", "rerope"])
        assert [record["check"] for record in records] == ["padded", "history"] * 3
        assert {record["status"] for record in records[:4]} == {"ok"}
        assert {record["status"] for record in records[4:]} == {"not run"}


@pytest.mark.parametrize("with_head", [AutoModelForMaskedLM, AutoModel])
def test_a_checkpoint_of_an_encoder(with_head, tmp_path, capsys):
    model = with_head.from_config(tiny("nomic_bert").config)
    sharpen(model).save_pretrained(tmp_path)
    assert main(["verify", str(tmp_path), "--method", "dynamic_ntk"]) == 0
    assert "Of 1: one result, however tokens are fed: 1." in capsys.readouterr().out
    assert main(["generate", str(tmp_path), "--prompt", "a"]) == 2
    assert "expected a causal language model" in capsys.readouterr().err
