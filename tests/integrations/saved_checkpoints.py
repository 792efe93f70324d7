"""Sizes of a small checkpoint, and what is said of a source that is refused."""

from pathlib import Path

import pytest

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.loading import load_model

SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
}


def refusal(source: str | Path) -> str:
    """The one line with which loading ``source`` is refused."""
    with pytest.raises(RopewalkError) as caught:
        load_model(source)
    message = str(caught.value)
    assert "\n" not in message
    return message
