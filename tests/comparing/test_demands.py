"""What a cell is taken to need, where jobs are placed by their memory."""

from types import SimpleNamespace

import pytest

from recipes.families.sharpened import tiny
from ropewalk.comparing.demands import demand_of
from ropewalk.training.decoder import Decoder, register
from ropewalk.training.decoder_config import DecoderConfig

TOKENS, FLOAT32 = 1000, 4
JOB = SimpleNamespace(lengths=(100, TOKENS), batch=2)


@pytest.mark.parametrize("opened", [lambda: None, register], ids=["first", "after a checkpoint"])
@pytest.mark.parametrize(
    ("windows", "kept"),
    [([None], 4 * TOKENS), ([64, None], 2 * TOKENS + 2 * 64)],
)
def test_a_trained_decoder_keeps_what_its_windows_see(opened, windows, kept):
    """Keys and values of 4 heads of 32 channels for each token that a layer keeps."""
    opened()
    found = demand_of(Decoder(DecoderConfig(windows=windows))).of_job(JOB)
    assert found == 2 * kept * 2 * 4 * 32 * FLOAT32


def test_a_decoder_that_no_keys_of_the_library_say_is_not_guessed_at():
    assert demand_of(Decoder(DecoderConfig(encodings=["xpos"]))).of_job(JOB) == 0


def test_a_model_of_the_library_keeps_its_key_heads_of_every_token():
    model = tiny(num_hidden_layers=2)
    config = model.config
    each = 2 * config.num_key_value_heads * config.head_dim * model.dtype.itemsize
    assert demand_of(model).of_job(JOB) == 2 * TOKENS * 2 * each
    assert demand_of(model).weights == sum(p.numel() for p in model.parameters()) * 8
