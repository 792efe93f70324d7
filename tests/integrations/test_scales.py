"""A scale of a row's logits reaches every layer that sees all tokens, whether it rotates or not.

Expected logits are the stock model's with each row's query scaled by hand where it is projected:
what rotates it afterwards is linear.
"""

from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, logits, tiny, token_ids

N = 3 * L0
WINDOW = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24}
MODELS = {
    "three layers of four rotate": ("smollm3", {"no_rope_layers": [1, 1, 1, 0]}, (0, 1, 2, 3)),
    "windows rotate, what sees all does not": ("cohere2", WINDOW, (1,)),
}
every = pytest.mark.parametrize("name", MODELS)


def tau(rows):
    """max(1, ln(m + 1) / ln 8)"""
    return (torch.log(rows + 1.0) / torch.log(torch.tensor(8.0))).clamp(min=1).double()


@contextmanager
def scaled_by_hand(model, layers):
    """Queries of those layers times tau, in a full pass."""
    with ExitStack() as stack:
        for layer in layers:
            projection = model.model.layers[layer].self_attn.q_proj
            hook = projection.register_forward_hook(
                lambda module, given, q: q * tau(torch.arange(q.shape[1]))[None, :, None]
            )
            stack.callback(hook.remove)
        yield


@every
def test_rows_are_scaled_in_every_layer_that_sees_all_tokens(name):
    family, changes, layers = MODELS[name]
    model, ids = tiny(family, **changes), token_ids(2, N)
    with scaled_by_hand(model, layers):
        wanted = logits(model, ids)
    assert (wanted - logits(model, ids)).abs().max() > 1e-3
    with rw.extend(model, "log_n:base_length=8") as extension:
        assert extension.describe()["layers_changed"] == len(layers)
        assert_close(logits(model, ids), wanted, rtol=0, atol=3e-5)
        assert_close(in_calls(model, ids, (50, 1, 1, N - 52)), wanted, rtol=0, atol=3e-5)


@every
def test_nothing_else_of_a_method_reaches_a_layer_without_positions(name):
    """Of YaRN with log-n it takes the scale alone."""
    family, changes, layers = MODELS[name]
    model, ids = tiny(family, **changes), token_ids(1, N)
    unrotated = [layer for layer in layers if layer == 3 or family == "cohere2"]
    with rw.extend(model, "log_n:base_length=8") as extension:
        alone = {each: extension.wanted[each] for each in extension.wanted}
    with rw.extend(model, "yarn:factor=4+log_n:base_length=8") as extension:
        bare = [each for each in extension.wanted.values() if each.frequencies is None]
        assert len(bare) == len(unrotated)
        assert all(each in alone.values() for each in bare)
        assert logits(model, ids).isfinite().all()


def test_a_scaling_of_rotations_alone_leaves_them_out():
    model = tiny("cohere2", **WINDOW)
    with pytest.raises(rw.RopewalkError, match="no method would change anything"):
        rw.extend(model, "yarn:factor=4")
