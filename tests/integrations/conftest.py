"""A small checkpoint, saved once, a copy of it to damage, and models to extend."""

import shutil
from pathlib import Path

import pytest
import torch
from saved_checkpoints import SIZES

import ropewalk as rw
from decoding_steps import METHOD
from recipes.families.sharpened import tiny
from ropewalk.attention.decode import Step
from ropewalk.integrations.kept_keys import KeptKeys


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a word-level tokenizer, saved by transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    words = {f"w{i}": i for i in range(63)} | {"[UNK]": 63}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def llama():
    return tiny(num_hidden_layers=2)


@pytest.fixture(scope="module")
def sliding():
    """Layer 0 full, the others with a window of 24."""
    return tiny("qwen2 sliding")


@pytest.fixture
def model():
    model = tiny()
    with rw.extend(model, METHOD):
        yield model


@pytest.fixture
def ranges(monkeypatch):
    """The keys (first, last exclusive) that layers rotated, in steps with kept keys."""
    seen, rotated = [], KeptKeys.rotated

    def seeing(kept, index, keys, step):
        with monkeypatch.context() as patch:
            write = Step.write_keys
            patch.setattr(Step, "write_keys", lambda *a: seen.extend(a[3]) or write(*a))
            return rotated(kept, index, keys, step)

    monkeypatch.setattr(KeptKeys, "rotated", seeing)
    return seen
