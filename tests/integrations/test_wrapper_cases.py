"""Cases of kinds J and K: wrappers around a model, and BOS. As tests/configs/test_more_cases.py."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import ropewalk as rw
from recipes.families.sharpened import sharpen, token_ids
from ropewalk.cli.prompts import chat_ids
from ropewalk.evaluation.bos import opening_ids

CASES = Path(__file__).parents[1] / "cases"
BOS = 1


def case(name):
    found = json.loads((CASES / f"{name}.json").read_text("utf-8"))
    return found["config"], found["expected"]


def model_of(config):
    return sharpen(LlamaForCausalLM(LlamaConfig(**config)).double().eval())


@torch.no_grad()
def logits(model):
    return model(token_ids(1, 160), use_cache=False).logits


def test_70_a_compiled_model_is_the_model():
    config, right = case("70-compiled-model")
    model = model_of(config)
    with rw.extend(model, right["method"]):
        expected = logits(model)
    assert (expected - logits(model)).abs().max() > 1e-3
    compiled = torch.compile(model, backend="eager")
    assert rw.inspect(compiled)["rope_theta"] == right["rope_theta"]
    with rw.extend(compiled, right["method"]):
        torch.testing.assert_close(logits(compiled), expected)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_71_adapters_are_merged_under_a_method():
    config, right = case("71-lora-merged-under-a-method")
    adapted = get_peft_model(
        model_of(config), LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    ).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    with rw.extend(adapted, right["method"]):
        merged = adapted.merge_and_unload()
        under = logits(merged)
    plain = logits(merged)
    assert (under - plain).abs().max() > 1e-3
    with rw.extend(merged, right["method"]):
        torch.testing.assert_close(logits(merged), under)


def tokenizer(config):
    """One token for each byte; it adds ``<bos>`` itself, or has none."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<bos>": BOS} | {each: 2 + at for at, each in enumerate(alphabet)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    own = {"bos_token": "<bos>"} if config["adds_bos"] else {}
    if config["adds_bos"]:
        inner.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", BOS)]
        )
    made = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", **own)
    made.chat_template = config["chat_template"]
    return made


def test_72_a_template_with_its_own_bos_gets_no_second_one():
    config, right = case("72-chat-template-with-its-own-bos")
    ids = chat_ids(tokenizer(config), "hello")[0].tolist()
    assert ids.count(BOS) == right["bos in a prompt"]
    assert ids[0] == BOS


def test_73_a_tokenizer_without_bos():
    config, right = case("73-no-bos-at-all")
    silent = tokenizer(config)
    assert len(opening_ids(silent, "auto")) == right["bos auto"]
    with pytest.raises(rw.RopewalkError, match=right["bos always"]):
        opening_ids(silent, "always")
    assert BOS not in chat_ids(silent, "hello")[0].tolist()
