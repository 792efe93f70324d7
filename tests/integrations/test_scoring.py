"""Losses of a transformers model: those of its own logits, however it is fed."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import logits, tiny, token_ids
from ropewalk.core.errors import RopewalkError
from ropewalk.core.loss import CHUNK_ROWS
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass
from ropewalk.integrations.scoring import TransformersScorer

TOKENS = 50
PASSES = (FullPass(), ChunkedPass(7), DecodePass())
# The library's norms round to float32 in an order that depends on the number of rows.
SAME = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module", params=["llama", "granite", "qwen2 sliding", "qwen3_moe"])
def model(request):
    """Granite divides its logits after the output layer; Qwen3's experts hand on their router's."""
    return tiny(request.param, num_hidden_layers=2)


def own_losses(model, ids, first):
    """-log p of each token, from the logits of a plain forward of the model."""
    log_probabilities = logits(model, ids[None], use_cache=False)[0].log_softmax(-1)
    losses = -log_probabilities[:-1].gather(1, ids[1:, None])[:, 0]
    return losses[first - 1 :]


@pytest.mark.parametrize("split", PASSES, ids=lambda split: split.name)
@pytest.mark.parametrize("first", [1, 5, TOKENS - 1])
def test_losses_are_those_of_the_model_s_own_logits(model, split, first):
    (ids,) = token_ids(1, TOKENS)
    losses = TransformersScorer(model).token_losses(ids, first, split)
    assert losses.dtype == torch.float64
    assert losses.shape == (TOKENS - first,)
    assert_close(losses, own_losses(model, ids, first), **SAME)


@pytest.mark.parametrize("spec", ["yarn:factor=2", "dynamic_ntk", "dynamic_ntk:policy=at_birth"])
def test_an_extended_model_is_scored_as_extended(spec):
    model, (ids,) = tiny("granite", num_hidden_layers=2), token_ids(1, TOKENS)
    stock = own_losses(model, ids, 5)
    with rw.extend(model, spec):
        expected = own_losses(model, ids, 5)
        assert_close(TransformersScorer(model).token_losses(ids, 5, FullPass()), expected, **SAME)
        assert (expected - stock).abs().max() > 1e-3
        decoded = TransformersScorer(model).token_losses(ids, 5, DecodePass())
    if spec.endswith("at_birth"):
        assert (decoded - expected).abs().max() > 1e-3
    else:
        assert_close(decoded, expected, **SAME)


def test_logits_are_never_held_for_the_whole_sequence():
    model, rows = tiny(num_hidden_layers=1, dtype=torch.float32), []
    handle = model.lm_head.register_forward_hook(lambda m, args, out: rows.append(out.shape[1]))
    (ids,) = token_ids(1, CHUNK_ROWS + 40)
    losses = TransformersScorer(model).token_losses(ids, 9, FullPass())
    handle.remove()
    assert sum(rows) == len(losses) == CHUNK_ROWS + 31
    assert max(rows) == CHUNK_ROWS


def test_calls_are_those_of_the_pass_and_progress_hears_of_each(model):
    advanced, fed = [], []
    decoder = model.model
    handle = decoder.register_forward_hook(
        lambda m, args, out: fed.append(out.last_hidden_state.shape[1])
    )
    (ids,) = token_ids(1, 20)
    TransformersScorer(model, advanced.append).token_losses(ids, 1, ChunkedPass(8))
    handle.remove()
    assert advanced == fed == [8, 8, 4]


@pytest.mark.parametrize("failing", [False, True])
def test_the_model_is_left_as_it_was(failing):
    model, (ids,) = tiny(num_hidden_layers=1), token_ids(1, 20)
    decoder, before, order = model.model, dict(vars(model)), list(model._modules)
    if failing:
        model.lm_head.register_forward_hook(lambda m, args, out: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            TransformersScorer(model).token_losses(ids, 1, FullPass())
    else:
        losses = TransformersScorer(model).token_losses(ids, 1, FullPass())
        assert not losses.requires_grad
    assert model.model is decoder
    assert vars(model) == before
    assert list(model._modules) == order


def test_a_model_in_training_mode_is_scored_without_dropout():
    model, (ids,) = tiny(num_hidden_layers=2, attention_dropout=0.5), token_ids(1, TOKENS)
    expected = own_losses(model, ids, 1)
    model.train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]
    losses = TransformersScorer(model).token_losses(ids, 1, FullPass())
    assert_close(losses, expected, **SAME)
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("stranger", [nn.Linear(2, 2), tiny(num_hidden_layers=1).model])
def test_a_model_without_an_output_layer_is_refused(stranger):
    with pytest.raises(RopewalkError, match="expected a causal language model"):
        TransformersScorer(stranger).token_losses(token_ids(1, 4)[0], 1, FullPass())
