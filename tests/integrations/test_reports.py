"""Public reports that a config cannot show: caches, batches, wrappers.

Each is a small model of our own with random weights, and what is right is computed without the
part that is tested. Where a report is from stands with each.
"""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close
from transformers import (
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

import ropewalk as rw
from recipes.families.sharpened import L0, in_calls, sharpen, tiny, token_ids

EXACT = {"rtol": 0, "atol": 1e-9}
WRITTEN = {
    **{"max_new_tokens": 10, "do_sample": False, "pad_token_id": 0, "eos_token_id": None},
    "suppress_tokens": [0],
}
METHODS = (
    *("dynamic_ntk", "dynamic_ntk:step=8", "rerope:window=12", "yarn:factor=4"),
    *("self_extend:group_size=4,window=8", "dual_chunk:chunk_size=24,local_window=8"),
)


@torch.no_grad()
def logits(model, ids, cache=None, **inputs):
    return model(ids, past_key_values=cache, use_cache=cache is not None, **inputs).logits


@pytest.mark.parametrize("method", METHODS)
def test_40_generate_is_the_same_every_way(method):
    """transformers issue 46612 (beams not reordered), unsloth PR 4078 (left-padded batch)."""
    model, ids = tiny(), token_ids(1, L0 + 8)
    beams = {**WRITTEN, "num_beams": 3}
    padded = torch.cat([torch.zeros(1, 9, dtype=torch.long), ids[:, : L0 - 1]], dim=1)
    mask = torch.ones(2, L0 + 8, dtype=torch.long)
    mask[1, :9] = 0
    with rw.extend(model, method):
        greedy = model.generate(ids, use_cache=False, **WRITTEN)
        ways = ({}, {"prompt_lookup_num_tokens": 3}, {"cache_implementation": "static"})
        for way in ways:
            assert torch.equal(model.generate(ids, **WRITTEN, **way), greedy), way
        several = model.generate(ids, use_cache=False, **beams)
        assert torch.equal(model.generate(ids, **beams), several)
        batch = model.generate(torch.cat([ids, padded]), attention_mask=mask, **WRITTEN)
        alone = model.generate(ids[:, : L0 - 1], **WRITTEN)
        assert torch.equal(batch[1, L0 + 8 :], alone[0, L0 - 1 :])


@pytest.mark.parametrize("method", [METHODS[0], *METHODS[2:4], METHODS[5]])
def test_41_caches_are_rolled_back_forked_and_interleaved(method):
    """petals issue 571; servers that keep prefixes."""
    model, ids = tiny(), token_ids(1, 48)
    other = ids.flip(1)
    with rw.extend(model, method), torch.no_grad():
        full, reverse = logits(model, ids), logits(model, other)
        cache = model(ids[:, :30], use_cache=True).past_key_values
        for token in range(30, 40):
            logits(model, ids[:, token : token + 1], cache)
        cache.crop(-6)
        again = [logits(model, ids[:, i : i + 1], cache) for i in range(34, 48)]
        assert_close(torch.cat(again, dim=1), full[:, 34:], **EXACT)
        first = model(ids[:, :20], use_cache=True).past_key_values
        second = model(other[:, :36], use_cache=True).past_key_values
        for i in range(8):
            step = slice(20 + i, 21 + i), slice(36 + i, 37 + i)
            assert_close(logits(model, ids[:, step[0]], first), full[:, step[0]], **EXACT)
            assert_close(logits(model, other[:, step[1]], second), reverse[:, step[1]], **EXACT)
        fork = copy.deepcopy(first)
        logits(model, ids[:, 3:4], first)
        assert_close(logits(model, ids[:, 28:29], fork), full[:, 28:29], **EXACT)
        second.batch_repeat_interleave(3)
        three = logits(model, other[:, 44:45].repeat(3, 1), second)
        assert_close(three, reverse[:, 44:45].repeat(3, 1, 1), **EXACT)


def qwen3_vl():
    text = {
        **{"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200},
        "max_position_embeddings": 64,
        "rope_parameters": {
            **{"rope_type": "default", "rope_theta": 1e6},
            **{"mrope_section": [4, 2, 2], "mrope_interleaved": True},
        },
    }
    vision = {
        **{"depth": 1, "hidden_size": 32, "intermediate_size": 32, "out_hidden_size": 64},
        **{"num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2},
        **{"in_channels": 3, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=150,
        video_token_id=151,
        vision_start_token_id=152,
        vision_end_token_id=153,
    )
    return sharpen(Qwen3VLForConditionalGeneration(config).double().eval())


def picture():
    place = torch.full((1, 16), 150)
    before, after = token_ids(1, 5) % 100 + 3, token_ids(1, 20) % 100 + 3
    ids = torch.cat([before, torch.tensor([[152]]), place, torch.tensor([[153]]), after], dim=1)
    return {
        "input_ids": ids,
        "pixel_values": torch.randn(64, 96, dtype=torch.float64),
        "image_grid_thw": torch.tensor([[1, 8, 8]]),
        "mm_token_type_ids": (ids == 150).int(),
    }


@pytest.mark.parametrize("method", ["native", "yarn:factor=2", "dynamic_ntk", "rerope:window=16"])
def test_43_a_picture_under_an_extension_is_refused_as_one(method):
    """Qwen3-VL: text goes through, and a picture is refused by its name."""
    model, text = qwen3_vl(), token_ids(1, 80) % 130 + 3
    model.model.rope_deltas = None
    with rw.extend(model, method):
        full = logits(model, text)
        assert_close(in_calls(model, text, [60] + [1] * 20), full, **EXACT)
        for ask in (
            lambda: model(**picture(), use_cache=False),
            lambda: model.generate(**picture(), max_new_tokens=2, pad_token_id=0),
        ):
            with pytest.raises(rw.RopewalkError, match="image"):
                ask()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks by a name that is going away
def test_44_a_peft_model_is_measured_as_its_base():
    """peft issue 932: base_model of a PeftModel has the head. Fresh LoRA weights add nothing."""
    model, document = tiny(), token_ids(1, 300)[0]
    asked = {"methods": ["none"], "windows": 2, "tail_tokens": 16}
    (right,) = rw.perplexity(model, [document], [64], **asked)
    lora = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, lora).eval()
    with rw.extend(wrapped, "dynamic_ntk"):
        assert logits(wrapped, token_ids(1, 48)).shape[1] == 48
    (found,) = rw.perplexity(wrapped, [document], [64], **asked)
    assert found["nll"] == pytest.approx(right["nll"], abs=1e-9)
    assert rw.verify(wrapped, ["yarn"])


@pytest.mark.parametrize("method", ["yarn:factor=2", "dynamic_ntk", "rerope:window=12"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_45_gradient_checkpointing_changes_no_gradient(method, reentrant):
    """Fine-tuning of long contexts in axolotl and unsloth."""
    model, ids = tiny(), token_ids(1, 48)
    with rw.extend(model, method):
        model.train()
        model(ids, labels=ids, use_cache=False).loss.backward()
        right = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        settings = {"use_reentrant": reentrant}
        model.activation_checkpointing_enable(settings)
        model.enable_input_require_grads()
        model(ids, labels=ids).loss.backward()
        for wanted, parameter in zip(right, model.parameters(), strict=True):
            assert_close(parameter.grad, wanted, **EXACT)


def test_46_a_short_row_beside_a_long_one_keeps_the_short_list():
    """LongRoPE (Phi-3): contamination of a batch by its longest row."""
    lists = {
        "short_factor": [1.0 + 0.02 * i for i in range(8)],
        "long_factor": [1.0 + 0.7 * i for i in range(8)],
    }
    config = Phi3Config(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=97,
        max_position_embeddings=128,
        original_max_position_embeddings=L0,
        pad_token_id=0,
        sliding_window=None,
        rope_parameters={
            **{"rope_type": "longrope", "rope_theta": 1e4, **lists},
            "original_max_position_embeddings": L0,
        },
    )
    model, ids = sharpen(Phi3ForCausalLM(config).double().eval()), token_ids(1, 40) % 90 + 3
    padded = torch.cat([torch.zeros(1, 20, dtype=torch.long), ids[:, :20]], dim=1)
    mask = torch.ones(2, 40, dtype=torch.long)
    mask[1, :20] = 0

    def gap():
        batch = logits(model, torch.cat([ids, padded]), attention_mask=mask)
        return (batch[1, 20:] - logits(model, ids[:, :20])[0]).abs().max().item()

    assert gap() > 0.1  # the library's own
    with rw.extend(model, "native"):
        assert gap() < 1e-5  # its angles are float32
