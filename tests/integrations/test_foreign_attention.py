"""Attention and layers that are not the extension's: right, or refused with a remedy."""

import threading

import pytest
import torch
from transformers import (
    ContinuousBatchingConfig,
    GenerationConfig,
)
from transformers.modeling_layers import MtpModel

import ropewalk as rw
from in_use import IDS, SPECS, full, small
from recipes.families.sharpened import sharpen


def in_time(work):
    """What ``work`` returns: the library's loop waits for a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(timeout=120)
    assert found
    return found[0]


@pytest.mark.parametrize("spec", ["native", "yarn:factor=2"])
def test_continuous_batching_under_a_rotary_module_of_ours(spec):
    """Requests of unequal lengths, packed in one row: each is what it is alone."""
    model, prompts = small(dtype=torch.float32), [IDS[0, :n].tolist() for n in (9, 30, 17)]
    settings = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=-1, pad_token_id=0)
    with rw.extend(model, spec):
        alone = [
            model.generate(torch.tensor([each]), generation_config=settings)[0, len(each) :]
            for each in prompts
        ]
        found = in_time(
            lambda: model.generate_batch(
                prompts,
                generation_config=settings,
                continuous_batching_config=ContinuousBatchingConfig(
                    num_blocks=8, max_batch_tokens=64
                ),
            )
        )
    told = {tuple(each.prompt_ids): each.generated_tokens for each in found.values()}
    assert [told[tuple(each)] for each in prompts] == [each.tolist() for each in alone]


@pytest.mark.parametrize("spec", ["dynamic_ntk", "rerope:window=12"])
def test_continuous_batching_is_refused_in_our_words(spec):
    """The library's own advice, another attention, would take all positions away."""
    model = small()
    with rw.extend(model, spec):
        for call in (
            lambda: model.generate_batch([IDS[0].tolist()]),
            model.continuous_batching_context_manager,
        ):
            with pytest.raises(rw.RopewalkError, match=r"expected generate.*do not switch"):
                call()
    assert "generate_batch" not in vars(model)


def drafting(monkeypatch):
    """A model with a layer that drafts, which generation makes from the model's config."""
    model = small("deepseek_v3", dtype=torch.float32)

    def made(cls, main, **settings):
        drafts = cls(main, 1).eval()
        sharpen(drafts.layers)
        return drafts

    monkeypatch.setattr(MtpModel, "from_pretrained", classmethod(made))
    return model


def test_drafts_of_layers_made_since_change_no_text(monkeypatch):
    """They share the rotary module; what they draft is checked by the model."""
    model, settings = drafting(monkeypatch), {"max_new_tokens": 9, "do_sample": False}
    with rw.extend(model, "yarn:factor=2"):
        expected = model.generate(IDS, **settings)
        assert torch.equal(model.generate(IDS, use_mtp=True, **settings), expected)


@pytest.mark.parametrize("spec", SPECS[1:])
def test_layers_made_since_have_no_plan(spec, monkeypatch):
    """generate(use_mtp=True) makes them from the model's config, our attention among it."""
    model = drafting(monkeypatch)
    with (
        rw.extend(model, spec),
        pytest.raises(rw.RopewalkError, match=r"layers served that were made since.*use_mtp"),
    ):
        model.generate(IDS, use_mtp=True, max_new_tokens=9, do_sample=False)


def test_layers_made_since_are_refused():
    """As multi-token prediction makes them, from the model's config."""
    model = small()
    with rw.extend(model, "dynamic_ntk"):
        ours = model.model.layers[0].self_attn
        other = type(ours)(model.config, 0).double()
        states, ones = torch.zeros(1, 4, 64).double(), torch.ones(1, 4, 16).double()
        with pytest.raises(rw.RopewalkError, match=r"layers served that were made since.*use_mtp"):
            other(states, position_embeddings=(ones, ones), attention_mask=None)


@pytest.mark.parametrize("asked", [{"output_attentions": True}, {"head_mask": torch.ones(2, 4)}])
@pytest.mark.parametrize("spec", SPECS[1:])
def test_weights_that_are_not_made_are_refused(asked, spec):
    """An empty list of attentions, or heads that stay as they are, would be no answer."""
    model = small()
    told = f"{next(iter(asked))} under.*no matrix"
    with rw.extend(model, spec), pytest.raises(rw.RopewalkError, match=told):
        full(model, **asked)


@pytest.mark.parametrize("spec", SPECS[1:])
def test_a_config_that_asks_for_weights_is_refused_at_once(spec):
    model = small()
    model.set_attn_implementation("eager")
    model.config.output_attentions = True
    with pytest.raises(rw.RopewalkError, match=r"output_attentions under.*no matrix"):
        rw.extend(model, spec)


def test_the_library_s_own_attention_makes_its_weights():
    model = small()
    model.set_attn_implementation("eager")
    with rw.extend(model, "yarn:factor=2"), torch.no_grad():
        found = model(IDS, output_attentions=True).attentions
    assert [each.shape for each in found] == [(1, 4, 44, 44)] * 2
