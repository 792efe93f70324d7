"""A small checkpoint, a config, and a library that remembers what commands asked of it."""

from pathlib import Path

import pytest
import torch
from commands import CELL, FakeApi, document


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """In place of the real functions, for what the command line asks of them."""
    fake = FakeApi(document(CELL))
    for name in ("compare", "plan_compare", "inspect", "extend"):
        monkeypatch.setattr(f"ropewalk.api.{name}", getattr(fake, name))
    return fake


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama of 64 words, saved with its tokenizer; weights of ordinary size."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.5,
        eos_token_id=None,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {f"w{i}": i for i in range(63)} | {"[UNK]": 63}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text('{"rope_theta": 10000.0}')
    return str(path)
