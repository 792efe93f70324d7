"""How far a method carries, for who asks a config: generate's warnings, lm-evaluation-harness."""

from types import SimpleNamespace

import pytest

from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.spec import parse_spec
from ropewalk.methods.stated_length import UNSTATED, StatedLength

L0 = 256
GEOMETRY = RopeGeometry(head_dim=16, rope_theta=1e4, trained_length=L0)


def stated(spec):
    parsed = parse_spec(spec)
    return StatedLength.of(parsed.resolved(GEOMETRY), parsed.encoding(GEOMETRY))


@pytest.mark.parametrize(
    ("spec", "tokens"),
    [
        ("yarn:factor=4", 4 * L0),
        ("llama3:factor=8", 8 * L0),
        ("linear:factor=2.5", 640),
        ("dynamic_ntk:policy=fixed,length=512", 512),
        # (L0 - w) G + w, the papers' own formula.
        ("self_extend:group_size=8,window=64", (L0 - 64) * 8 + 64),
        ("string:shift=100,window=28", L0 + 100 - 28),
    ],
)
def test_a_length_that_was_asked_for_is_stated(spec, tokens):
    found = stated(spec)
    assert (found.tokens, found.bounded) == (tokens, True)
    assert found.within(128) == tokens
    assert found.within(4096) == 4096


@pytest.mark.parametrize("spec", ["none", "log_n", "abf:rope_theta=50000", "temperature:tau=2"])
def test_where_none_is_named_the_config_says_it(spec):
    assert stated(spec).bounded
    assert stated(spec).within(1024) == 1024


@pytest.mark.parametrize(
    "spec",
    ["dynamic_ntk", "rerope:window=128", "dual_chunk:chunk_size=192,local_window=64"],
)
def test_a_method_without_a_longest_context_is_not_bounded(spec):
    found = stated(spec)
    assert not found.bounded
    assert found.tokens > L0  # what was reported of it


def test_a_config_is_told_and_never_of_less():
    text = SimpleNamespace(max_position_embeddings=L0)
    config = SimpleNamespace(get_text_config=lambda decoder: text)
    stated("yarn:factor=4").state_in(config)
    assert text.max_position_embeddings == 4 * L0
    stated("yarn:factor=2").state_in(config)
    UNSTATED.state_in(config)
    assert text.max_position_embeddings == 4 * L0
