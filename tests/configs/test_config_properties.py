"""Whatever a config.json holds, reading it either works or raises RopewalkError."""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from config_strategies import CONFIGS, JUNK, NUMBERS
from readings import encoding_from_config, inspect_config, read_rope_section, softmax_scale
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.build import encoding
from ropewalk.methods.method import Method
from ropewalk.methods.parameters import parameters_of
from ropewalk.methods.table import METHODS

LAYER_TYPES = st.sampled_from([None, "full_attention", "sliding_attention", "other"])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(config=CONFIGS, layer_type=LAYER_TYPES)
def test_a_config_is_read_or_refused(config, layer_type):
    try:
        section = read_rope_section(config, layer_type)
        built = encoding_from_config(config, layer_type)
    except RopewalkError:
        return
    assert built.geometry == section.geometry()
    for length in (2, built.geometry.trained_length, 2**20):
        theta = built.frequencies.inv_freq(length)
        assert len(theta) == (built.geometry.rotary_dim + 1) // 2
        assert theta.isfinite().all()
        assert (theta >= 0).all()
        assert 0 < built.frequencies.attention_factor(length) < math.inf
    assert softmax_scale(config, layer_type) > 0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(config=CONFIGS, length=st.one_of(st.none(), JUNK))
def test_an_inspection_is_json_or_refused(config, length):
    try:
        document = inspect_config(config, context_length=length)
    except RopewalkError:
        return
    json.dumps(document, allow_nan=False)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), method=st.sampled_from(list(METHODS.values())))
def test_keyword_parameters_are_used_or_refused(data, method: Method):
    geometry = read_rope_section(
        {"head_dim": 8, "rope_theta": 1e4, "max_position_embeddings": 256}
    ).geometry()
    names = [*parameters_of(method), "nonsense"]
    chosen = data.draw(st.dictionaries(st.sampled_from(names), NUMBERS, max_size=4))
    try:
        built = encoding(method.name, geometry, **chosen)
    except RopewalkError:
        return
    assert built.frequencies is None or built.frequencies.inv_freq(1024).isfinite().all()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(config=JUNK)
def test_what_is_no_config_is_refused(config):
    try:
        read_rope_section(config)
    except RopewalkError:
        return
    raise AssertionError(f"{config!r} was read as a config")
