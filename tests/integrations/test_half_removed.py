"""An extension is in a model whole or not at all: switched, copied, changed meanwhile, saved."""

import copy
import io
import pickle

import pytest
import torch
from transformers import AutoModelForCausalLM

import ropewalk as rw
from in_use import SEAMS, SPECS, full, small
from ropewalk.integrations.extension import EXTENSION


@pytest.mark.parametrize("spec", SPECS[1:])
@pytest.mark.parametrize("other", ["sdpa", "eager"])
def test_another_attention_under_an_extension_is_refused(spec, other):
    """The rotary module shows no positions, or another L than the query's: nothing would tell."""
    model = small()
    with rw.extend(model, spec):
        model.set_attn_implementation(other)
        with pytest.raises(rw.RopewalkError, match=rf"switched to {other}.*extension.remove"):
            full(model)


@pytest.mark.parametrize(
    "family",
    ["persimmon", "gpt_neox", "deepseek_v3", "cohere", "gemma3_text wide", "llama4_text", "phi3"],
)
def test_it_is_refused_in_every_kind_of_family(family):
    """Not every rotary module knows a config."""
    model = small(family)
    with rw.extend(model, "dynamic_ntk"):
        model.set_attn_implementation("eager")
        with pytest.raises(rw.RopewalkError, match="switched to eager"):
            full(model)


def test_another_rotary_module_under_an_extension_is_refused():
    """Our attention would rotate keys that the module rotated already."""
    model, other = small(), small()
    with rw.extend(model, "dynamic_ntk"):
        ours, model.model.rotary_emb = model.model.rotary_emb, other.model.rotary_emb
        with pytest.raises(rw.RopewalkError, match="rotated twice"):
            full(model)
        model.model.rotary_emb = ours


@SEAMS
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_has_an_extension_of_its_own(way, spec):
    """A copy shared the original's: removing it there restored the other model."""
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
def test_removal_keeps_what_the_user_changed(spec, tmp_path):
    """A restored config said the old size of the vocabulary, and reloading failed."""
    model = small()
    with rw.extend(model, spec):
        model.resize_token_embeddings(120, mean_resizing=False)
        model.to(torch.float32)
    assert model.config.vocab_size == 120
    assert model.config._attn_implementation == "sdpa"
    fresh = small(vocab_size=120, dtype=torch.float32)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(full(model), full(fresh))
    model.save_pretrained(tmp_path)
    assert torch.equal(full(AutoModelForCausalLM.from_pretrained(tmp_path)), full(model))


@SEAMS
def test_names_of_weights_stay(spec):
    """A state dict that is saved while extended is the checkpoint's own."""
    model = small("llama4_text")
    names = list(model.state_dict())
    with rw.extend(model, spec):
        assert list(model.state_dict()) == names


def test_the_model_inside_is_not_saved_either():
    """Its checkpoint would say nothing of the method."""
    model = small()
    with rw.extend(model, "dynamic_ntk"), pytest.raises(rw.RopewalkError, match="is not saved"):
        model.model.save_pretrained("nowhere")
    assert "save_pretrained" not in vars(model.model)


def test_a_part_of_an_extended_model_is_extended_already():
    """Not that none of its layers turns."""
    model = small()
    with rw.extend(model.model, "dynamic_ntk"), pytest.raises(rw.RopewalkError, match="already"):
        rw.extend(model, "yarn:factor=2")
    with rw.extend(model, "yarn:factor=2"), pytest.raises(rw.RopewalkError, match="already"):
        rw.extend(model.model, "dynamic_ntk")
