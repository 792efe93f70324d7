"""What an extended model refuses before anything is lost, and what it tells others."""

import copy

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    DynamicCache,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

import ropewalk as rw
from in_use import IDS, SEAMS, SPECS, small
from recipes.families.sharpened import L0, logits, sharpen, token_ids

# A pass that fails.


@pytest.mark.parametrize("spec", ["dynamic_ntk:step=8", "rerope:window=12"])
def test_a_pass_that_fails_between_two_layers_spoils_its_cache(spec):
    """The first layer wrote its keys, the second did not."""
    model = small()

    def fail(*args):
        raise KeyboardInterrupt

    with rw.extend(model, spec), torch.no_grad():
        cache = DynamicCache(config=model.config)
        model(IDS[:, :30], past_key_values=cache)
        hook = model.model.layers[1].register_forward_pre_hook(fail)
        with pytest.raises(KeyboardInterrupt):
            model(IDS[:, 30:34], past_key_values=cache)
        hook.remove()
        with pytest.raises(rw.RopewalkError, match="start from the whole prompt"):
            model(IDS[:, 34:], past_key_values=cache)
        again = DynamicCache(config=model.config)
        expected = logits(model, IDS, use_cache=False)
        assert_close(model(IDS, past_key_values=again).logits, expected, rtol=0, atol=1e-9)


def test_a_pass_that_fails_under_a_rotary_module_of_ours():
    """The library's cache is uneven then, and one row without a mask would be read from it."""
    model = small()

    def fail(*args):
        raise KeyboardInterrupt

    with rw.extend(model, "yarn:factor=2"), torch.no_grad():
        cache = DynamicCache(config=model.config)
        model(IDS[:, :30], past_key_values=cache)
        hook = model.model.layers[1].register_forward_pre_hook(fail)
        with pytest.raises(KeyboardInterrupt):
            model(IDS[:, 30:34], past_key_values=cache)
        hook.remove()
        with pytest.raises(rw.RopewalkError, match=r"some layers wrote.*crop it"):
            model(IDS[:, 34:35], past_key_values=cache)
        cache.layers[0].crop(-4)
        found = model(IDS[:, 30:], past_key_values=cache).logits
        expected = logits(model, IDS, use_cache=False)[:, 30:]
        assert_close(found, expected, rtol=0, atol=1e-9)


# Saving.


class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        ids = token_ids(1, 20, seed=index)[0]
        return {"input_ids": ids, "labels": ids}


def trainer(model, folder, strategy):
    settings = TrainingArguments(
        str(folder),
        max_steps=2,
        save_strategy=strategy,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    return Trainer(model, settings, train_dataset=Texts())


@SEAMS
def test_a_trainer_that_would_save_is_refused_before_its_first_step(spec, tmp_path):
    """Not at its first checkpoint, after hours."""
    model = small(dtype=torch.float32)
    before = copy.deepcopy(model.state_dict())
    with rw.extend(model, spec):
        stops = trainer(model, tmp_path / "stops", "steps")
        with pytest.raises(rw.RopewalkError, match=r"save_strategy=steps.*export MODEL.*--out"):
            stops.train()
        assert stops.state.global_step == 0
        assert all(torch.equal(model.state_dict()[name], x) for name, x in before.items())
        runs = trainer(model, tmp_path / "runs", "no")
        runs.train()
        assert runs.state.global_step == 2
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_trainer_of_a_model_without_extension_saves(tmp_path):
    model = small(dtype=torch.float32)
    with rw.extend(model, "yarn:factor=2"):
        pass
    trainer(model, tmp_path, "steps").train()
    assert list(tmp_path.rglob("*.safetensors"))


# Images.


def reading_images():
    text = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 200,
        "max_position_embeddings": L0,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [4, 2, 2],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "out_hidden_size": 64,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    tokens = {"image_token_id": 150, "video_token_id": 151}
    around = {"vision_start_token_id": 152, "vision_end_token_id": 153}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **tokens, **around)
    return sharpen(Qwen3VLForConditionalGeneration(config).double().eval())


def picture():
    parts = (IDS[:, :5], torch.tensor([[152]]), torch.full((1, 16), 150), torch.tensor([[153]]))
    ids = torch.cat([*parts, IDS[:, :20]], dim=1)
    generator = torch.Generator().manual_seed(0)
    return {
        "input_ids": ids,
        "pixel_values": torch.randn(64, 96, generator=generator).double(),
        "image_grid_thw": torch.tensor([[1, 8, 8]]),
        "mm_token_type_ids": (ids == 150).int(),
    }


@torch.no_grad()
def by_hand(model, ids):
    """A loop that leaves positions to the model."""
    out = model(ids[:, :30], use_cache=True)
    found = [out.logits]
    for n in range(30, ids.shape[1]):
        step = model(ids[:, n : n + 1], past_key_values=out.past_key_values, use_cache=True)
        found.append(step.logits)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("spec", ["native", *SPECS[:3]])
def test_a_picture_is_refused_and_leaves_nothing_to_the_text_after_it(spec):
    """What a family remembers of an image moved text in later calls by 3 to 4.5 logits."""
    model = reading_images()
    with torch.no_grad():
        model(**picture())  # the model itself reads one, and remembers how far it moved the text
    remembered = model.model.rope_deltas
    assert remembered.any()
    with rw.extend(model, spec):
        expected = logits(model, IDS, use_cache=False)
        assert_close(by_hand(model, IDS), expected, rtol=0, atol=1e-9)
        for read in (model, lambda **given: model.generate(**given, max_new_tokens=2)):
            with pytest.raises(rw.RopewalkError, match="expected text alone; remove the extension"):
                read(**picture())
            assert_close(by_hand(model, IDS), expected, rtol=0, atol=1e-9)
    assert model.model.rope_deltas is remembered


# The length that a model states.


@pytest.mark.parametrize(
    ("spec", "length"),
    [
        ("native", L0),
        ("yarn:factor=4", 4 * L0),
        ("linear:factor=2", 2 * L0),
        ("dynamic_ntk:policy=fixed,length=96", 96),
        ("dual_chunk:chunk_size=24,local_window=8+yarn:factor=4", None),
    ],
)
def test_an_extended_model_states_its_length(spec, length):
    """Tools that read it would cut texts to the trained length."""
    model, other = small(), small()
    other.config = shared = model.config
    with rw.extend(model, spec):
        stated = model.config.max_position_embeddings
        assert stated == length if length else stated >= 4 * L0
        assert shared.max_position_embeddings == L0
        rw.assert_encoding(model, spec)  # still read by the length that it was trained at
    assert model.config is shared


def test_a_generation_within_the_stated_length_is_not_warned_of(caplog):
    model = small()
    with rw.extend(model, "yarn:factor=2"):
        model.generate(IDS, max_new_tokens=3, do_sample=False)
    assert "exceeded" not in caplog.text
