"""What people do to an extended model: every outcome is right, or a refusal in one line.

The models are sharpened, so that a wrong position moves logits by far more than 1e-3.
"""

import copy
import io
import pickle
import threading

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache

import ropewalk as rw
from recipes.families.sharpened import L0, left_padded, logits, tiny, token_ids
from ropewalk.integrations.extension import EXTENSION

EXACT = {"rtol": 0, "atol": 1e-9}
LONG = 256
"""A trained length that no test reaches: dynamic NTK and a window of 250 change nothing there."""
# The rotary seam, L of each row, several regions, keys rotated at birth.
SPECS = ("yarn:factor=2", "dynamic_ntk:step=8", "rerope:window=12", "dynamic_ntk:policy=at_birth")
SEAMS = pytest.mark.parametrize("spec", SPECS)
UNCHANGED = pytest.mark.parametrize("spec", ["native", "dynamic_ntk", "rerope:window=250"])
IDS = token_ids(1, 44)


def small(name="llama", **settings):
    return tiny(name, num_hidden_layers=2, **settings)


def full(model, ids=IDS, **inputs):
    return logits(model, ids, use_cache=False, **inputs)


@torch.no_grad()
def in_parts(model, *parts, cache=None):
    """Logits of (ids, position_ids) through one cache, and the cache."""
    cache = DynamicCache(config=model.config) if cache is None else cache
    out = [
        model(ids, past_key_values=cache, position_ids=positions, use_cache=True).logits
        for ids, positions in parts
    ]
    return torch.cat(out, dim=1), cache


# Callers beside each other.


class LockStep:
    """Two passes through one model, layer by layer in turn."""

    def __init__(self, model):
        self._barrier = threading.Barrier(2)
        for layer in model.model.layers:
            layer.register_forward_pre_hook(self._meet)

    def _meet(self, layer, args):
        self._barrier.wait(timeout=60)

    def run(self, *calls):
        """What each of two functions returns, run at once."""
        found = [None, None]

        def go(number):
            found[number] = calls[number]()

        threads = [threading.Thread(target=go, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@SEAMS
@pytest.mark.parametrize("family", ["llama", "persimmon"])
def test_two_paddings_in_lock_step_are_each_alone(family, spec):
    model = small(family)
    batches = [left_padded(token_ids(1, n, seed=n), 44, token_ids(1, 44)) for n in (31, 40)]
    with rw.extend(model, spec):
        alone = [full(model, ids, attention_mask=mask) for ids, mask in batches]
        step = LockStep(model)
        found = step.run(
            *(
                lambda ids=ids, mask=mask: full(model, ids, attention_mask=mask)
                for ids, mask in batches
            )
        )
    assert_close(found, alone, rtol=0, atol=0)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@SEAMS
def test_two_decoders_in_lock_step_are_each_alone(spec):
    """Keys that steps rotated stay with their own cache."""
    texts = [token_ids(1, 42, seed=seed) for seed in (0, 1)]

    def decoded(model, ids):
        parts = [ids[:, :36], *ids[:, 36:].split(1, dim=1)]
        return in_parts(model, *((part, None) for part in parts))[0]

    model = small()
    with rw.extend(model, spec):
        alone = [decoded(model, ids) for ids in texts]
        found = LockStep(model).run(*(lambda ids=ids: decoded(model, ids) for ids in texts))
    assert_close(found, alone, rtol=0, atol=0)


def test_attend_in_threads_is_attend_alone():
    geometry = rw.RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=L0)
    encoding = rw.encoding("dynamic_ntk:step=1", geometry)
    generator = torch.Generator().manual_seed(0)
    calls = [[torch.randn(1, 2, 64, 16, generator=generator) for _ in "qkv"] for _ in range(4)]
    alone = [rw.attend(*call, encoding) for call in calls]
    found = [[] for _ in calls]

    def go(number):
        found[number] = [rw.attend(*calls[number], encoding) for _ in range(5)]

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, expected in zip(found, alone, strict=True):
        assert len(mine) == 5
        assert all(torch.equal(each, expected) for each in mine)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@SEAMS
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("family", ["llama", "persimmon"])
def test_two_forwards_before_one_backward(family, reentrant, spec):
    """As in DPO, under gradient checkpointing: layers run again while the last call is another."""
    batches = [left_padded(token_ids(1, n, seed=n), 40, token_ids(1, 40)) for n in (31, 38)]

    def gradients(model, together):
        losses = []
        for ids, mask in batches:
            out = model(ids, attention_mask=mask, use_cache=False).logits
            losses.append((out * mask[..., None]).square().mean())
            if not together:
                losses.pop().backward()
        if together:
            sum(losses).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    plain, checkpointed = small(family).train(), small(family).train()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": reentrant})
    checkpointed.enable_input_require_grads()
    with rw.extend(plain, spec), rw.extend(checkpointed, spec):
        expected = gradients(plain, together=False)
        assert_close(gradients(checkpointed, together=True), expected, rtol=1e-9, atol=1e-12)


def test_inference_mode_leaves_nothing_behind():
    geometry = rw.RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=L0)
    encoding = rw.encoding("dynamic_ntk:step=1", geometry)
    q, k, v = (torch.randn(1, 2, 64, 16) for _ in "qkv")
    with torch.inference_mode():
        inside = rw.attend(q, k, v, encoding)
    assert torch.equal(rw.attend(q, k, v, encoding), inside)


# Half removed, copied, changed meanwhile.


@pytest.mark.parametrize("spec", ["dynamic_ntk", "rerope:window=12"])
def test_another_attention_under_an_extension_is_refused(spec):
    model = small()
    with rw.extend(model, spec):
        model.set_attn_implementation("sdpa")
        with pytest.raises(rw.RopewalkError, match=r"switched to sdpa.*extension.remove"):
            full(model)


def test_another_rotary_module_under_an_extension_is_refused():
    model, other = small(), small()
    with rw.extend(model, "dynamic_ntk"):
        ours, model.model.rotary_emb = model.model.rotary_emb, other.model.rotary_emb
        with pytest.raises(rw.RopewalkError, match="rotated twice"):
            full(model)
        model.model.rotary_emb = ours


@SEAMS
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_has_an_extension_of_its_own(way, spec):
    model = small()
    stock = full(model)
    extension = rw.extend(model, spec)
    extended = full(model)
    if way == "deepcopy":
        other = copy.deepcopy(model)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert torch.equal(full(other), extended)
    getattr(other, EXTENSION).remove()
    assert torch.equal(full(other), stock)
    assert torch.equal(full(model), extended)
    with pytest.raises(rw.RopewalkError, match="is not saved"):
        model.save_pretrained("nowhere")
    extension.remove()
    assert torch.equal(full(model), stock)


@pytest.mark.parametrize("spec", ["yarn:factor=2", "dynamic_ntk"])
def test_removal_keeps_what_the_user_changed(spec):
    model = small()
    with rw.extend(model, spec):
        model.resize_token_embeddings(120, mean_resizing=False)
        model.to(torch.float32)
    assert model.config.vocab_size == 120
    assert model.config._attn_implementation == "sdpa"
    fresh = small(vocab_size=120, dtype=torch.float32)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(full(model), full(fresh))


def test_the_model_inside_is_not_saved_either():
    model = small()
    with rw.extend(model, "dynamic_ntk"), pytest.raises(rw.RopewalkError, match="is not saved"):
        model.model.save_pretrained("nowhere")
    assert "save_pretrained" not in vars(model.model)


def test_a_part_of_an_extended_model_is_extended_already():
    model = small()
    with rw.extend(model.model, "dynamic_ntk"), pytest.raises(rw.RopewalkError, match="already"):
        rw.extend(model, "yarn:factor=2")
    with rw.extend(model, "yarn:factor=2"), pytest.raises(rw.RopewalkError, match="already"):
        rw.extend(model.model, "dynamic_ntk")


# True positions.


@UNCHANGED
def test_positions_that_jump_after_a_prefill(spec):
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 34)
    parts = (ids[:, :30], None), (ids[:, 30:], torch.arange(90, 94)[None])
    stock, _ = in_parts(model, *parts)
    with rw.extend(model, spec):
        assert_close(in_parts(model, *parts)[0], stock, rtol=0, atol=2e-4)


@UNCHANGED
def test_given_positions_stay_with_their_keys(spec):
    """A prefill that starts at 50 and leaps, then tokens that go on from there."""
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 34)
    first = torch.cat([torch.arange(50, 60), torch.arange(100, 120)])[None]
    parts = [(ids[:, :30], first)]
    parts += [(ids[:, n : n + 1], torch.tensor([[90 + n]])) for n in range(30, 34)]
    stock, _ = in_parts(model, *parts)
    with rw.extend(model, spec):
        assert_close(in_parts(model, *parts)[0], stock, rtol=0, atol=2e-4)


def kept(cache, keys):
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[:, :, keys], layer.values[:, :, keys]


@pytest.mark.parametrize(
    "keys", [[*range(4), *range(20, 40)], slice(4, None)], ids=["some", "last"]
)
def test_evicted_keys_are_noticed(keys):
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 41)
    with rw.extend(model, "dynamic_ntk"):
        _, cache = in_parts(model, (ids[:, :40], None))
        kept(cache, keys)
        with pytest.raises(rw.RopewalkError, match="from which keys were taken"):
            in_parts(model, (ids[:, 40:], torch.tensor([[40]])), cache=cache)


def test_the_rotary_seam_needs_no_record():
    model, ids = small(max_position_embeddings=LONG), token_ids(1, 41)
    found = []
    for spec in (None, "native"):
        extension = None if spec is None else rw.extend(model, spec)
        _, cache = in_parts(model, (ids[:, :40], None))
        kept(cache, [*range(4), *range(20, 40)])
        found.append(in_parts(model, (ids[:, 40:], torch.tensor([[40]])), cache=cache)[0])
        if extension is not None:
            extension.remove()
    assert_close(found[1], found[0], **EXACT)


def test_a_cache_of_the_model_itself_is_not_read():
    model, ids = small(), token_ids(1, 41)
    _, cache = in_parts(model, (ids[:, :40], None))
    with (
        rw.extend(model, "dynamic_ntk"),
        pytest.raises(rw.RopewalkError, match="this extension did not fill"),
    ):
        in_parts(model, (ids[:, 40:], None), cache=cache)


def test_a_cache_of_unrotated_keys_is_not_read_by_a_rotary_module():
    model, ids = small(), token_ids(1, 41)
    with rw.extend(model, "dynamic_ntk"):
        _, cache = in_parts(model, (ids[:, :40], None))
    with (
        rw.extend(model, "yarn:factor=2"),
        pytest.raises(rw.RopewalkError, match="un-rotated keys"),
    ):
        in_parts(model, (ids[:, 40:], None), cache=cache)


@SEAMS
def test_a_cropped_or_copied_cache_is_read_on(spec):
    model, ids, other = small(), token_ids(1, 44), token_ids(1, 44, seed=1)
    with rw.extend(model, spec):
        _, cache = in_parts(model, (ids[:, :40], None))
        branch = copy.deepcopy(cache)
        branch.crop(-4)
        mixed = torch.cat([ids[:, :36], other[:, 36:40]], dim=1)
        found, _ = in_parts(model, (mixed[:, 36:], None), cache=branch)
        again, _ = in_parts(model, (ids[:, 40:], None), cache=cache)
        if "at_birth" not in spec:
            assert_close(found, full(model, mixed)[:, 36:], **EXACT)
            assert_close(again, full(model, ids)[:, 40:], **EXACT)
        assert found.isfinite().all()


@UNCHANGED
def test_given_positions_beside_a_mask_are_followed(spec):
    """PoSE: positions that leap, in a batch padded on the right."""
    model, ids = small(max_position_embeddings=LONG), token_ids(2, 20)
    mask = torch.ones_like(ids)
    mask[0, 15:] = 0
    positions = torch.cat([torch.arange(10), torch.arange(100, 110)]).expand(2, -1)
    stock = full(model, ids, attention_mask=mask, position_ids=positions)
    with rw.extend(model, spec):
        found = full(model, ids, attention_mask=mask, position_ids=positions)
    assert_close(found[mask.bool()], stock[mask.bool()], rtol=0, atol=2e-4)


@pytest.mark.parametrize("spec", ["native", "dynamic_ntk"])
def test_packed_rows_beside_a_mask_are_refused(spec):
    model, ids = small(), token_ids(1, 20)
    positions = torch.cat([torch.arange(10), torch.arange(10)])[None]
    mask = torch.ones_like(ids)
    mask[0, 18:] = 0
    with rw.extend(model, spec), pytest.raises(rw.RopewalkError, match="start again"):
        full(model, ids, attention_mask=mask, position_ids=positions)


@SEAMS
def test_negative_positions_are_refused(spec):
    model = small()
    with rw.extend(model, spec), pytest.raises(rw.RopewalkError, match="expected 0 or more"):
        full(model, position_ids=torch.arange(-3, 41)[None])


@SEAMS
def test_a_mask_of_fixed_size_over_a_static_cache(spec):
    model, ids = small(), token_ids(1, 40)
    mask = torch.zeros(1, 64, dtype=torch.long)
    mask[:, 5:40] = 1
    with rw.extend(model, spec):
        cache = StaticCache(config=model.config, max_cache_len=64)
        found = logits(model, ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        assert_close(found[:, 5:], full(model, ids[:, 5:]), **EXACT)


# Gradients, precision, compilers.


@pytest.mark.parametrize("spec", ["dynamic_ntk", "rerope:window=12"])
def test_gradients_of_a_norm_after_the_rotation(spec):
    """Hunyuan: the weight is divided out and multiplied back. Against finite differences."""
    model, ids = small("hunyuan_v1_dense"), token_ids(1, 40)
    weight = model.model.layers[1].self_attn.query_layernorm.weight

    def loss():
        return model(ids, use_cache=False).logits.square().mean()

    with rw.extend(model, spec):
        loss().backward()
        for channel in (0, 7):
            values = []
            for step in (1e-3, -1e-3):  # the family's norm is float32 in a float64 model
                with torch.no_grad():
                    weight[channel] += step
                    values.append(loss().item())
                    weight[channel] -= step
            numeric = (values[0] - values[1]) / 2e-3
            assert weight.grad[channel].item() == pytest.approx(numeric, rel=1e-2, abs=1e-5)


def test_a_dtype_that_changes_after_the_installation():
    model = small("hunyuan_v1_dense")
    with rw.extend(model, "dynamic_ntk"):
        model.to(torch.bfloat16)
        assert full(model).isfinite().all()


def test_a_static_method_is_one_graph():
    model = small(dtype=torch.float32)
    ids, mask = left_padded(token_ids(1, 31), 44, token_ids(1, 44))
    with rw.extend(model, "yarn:factor=2"):
        expected = full(model), full(model, ids, attention_mask=mask)
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert_close(full(compiled), expected[0], rtol=0, atol=1e-5)
        assert_close(full(compiled, ids, attention_mask=mask), expected[1], rtol=0, atol=1e-5)
        exported = torch.export.export(model, (IDS,), {"use_cache": False})
        assert_close(exported.module()(IDS, use_cache=False).logits, expected[0], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [None, "yarn:factor=2", *SPECS[1:]])
def test_new_lengths_are_not_compiled_anew(spec):
    """Two lengths teach a compiler that a size varies; stock models are compiled no more then."""
    model, compiled = tiny(num_hidden_layers=1, dtype=torch.float32), []
    extension = None if spec is None else rw.extend(model, spec)
    expected = [full(model, token_ids(1, length)) for length in (20, 24, 30, 36)]
    torch._dynamo.reset()

    def count(graph, inputs):
        compiled.append(graph)
        return graph.forward

    fast = torch.compile(model, backend=count)
    found = [full(fast, token_ids(1, length)) for length in (20, 24)]
    before = len(compiled)
    found += [full(fast, token_ids(1, length)) for length in (30, 36)]
    assert len(compiled) == before > 0
    assert_close(found, expected, rtol=0, atol=1e-5)
    if extension is not None:
        extension.remove()


def test_a_compiled_model_may_be_extended():
    model = small(dtype=torch.float32)
    with rw.extend(model, "yarn:factor=2"):
        expected = full(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    full(compiled)
    with rw.extend(compiled, "yarn:factor=2"):
        assert_close(full(compiled), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("asked", [{"output_attentions": True}])
def test_weights_that_are_not_made_are_refused(asked):
    model = small()
    with rw.extend(model, "dynamic_ntk"), pytest.raises(rw.RopewalkError, match="no matrix"):
        full(model, **asked)


@pytest.mark.parametrize(
    "change", [torch.clone, torch.Tensor.detach, lambda x: x.to("cpu", copy=True)]
)
def test_a_mask_that_was_copied_carries_its_call(change, monkeypatch):
    """As accelerate and reentrant checkpointing do to what layers are handed."""
    model = small()
    with rw.extend(model, "dynamic_ntk"):
        expected = full(model)

        def changed(module, args, kwargs):
            return args, {**kwargs, "attention_mask": change(kwargs["attention_mask"])}

        for layer in model.model.layers:
            layer.register_forward_pre_hook(changed, with_kwargs=True)
        assert torch.equal(full(model), expected)
