"""Methods named in a rope dict inside vLLM and SGLang: the tables that these engines rotate by."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from fake_engines import fake_sglang, fake_vllm
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.plugins import sglang, vllm

D, L0, N, THETA = 64, 256, 1024, 10000.0
YARN = "yarn:factor=4"


def rope(spec, **keys):
    stated = {"rope_theta": THETA, "original_max_position_embeddings": L0}
    return {"rope_type": "ropewalk", "spec": spec, **stated, **keys}


def in_vllm(monkeypatch, named, *, most=N, served=N, head=D, **options):
    """The module that vLLM's ``get_rope`` gives a model."""
    monkeypatch.setenv("VLLM_PLUGINS", "ropewalk")
    _, llama = fake_vllm(monkeypatch, served)
    vllm.register()
    return llama.get_rope(
        head_size=head, max_position=most, is_neox_style=True, rope_parameters=named, **options
    )


def in_sglang(monkeypatch, named, *, most=N, head=D, **options):
    monkeypatch.setenv("SGLANG_PLUGINS", "other, ropewalk")
    factory, hooks = fake_sglang(monkeypatch)
    sglang.register()
    around = hooks[f"{sglang.FACTORY}.get_rope"]
    return around(factory.get_rope, head, head, most, THETA, rope_scaling=named, **options)


ENGINES = {"vllm": in_vllm, "sglang": in_sglang}
both = pytest.mark.parametrize("engine", ENGINES)


def table(theta, size=1.0, rows=N):
    angles = torch.outer(torch.arange(rows, dtype=torch.float64), theta.double())
    return torch.cat([angles.cos() * size, angles.sin() * size], dim=-1).float()


def unscaled(base=THETA):
    return base ** -(torch.arange(0, D, 2, dtype=torch.float64) / D)


def of_the_library(rope_type, **keys):
    """Frequencies and size by transformers' own function."""
    config = LlamaConfig(
        head_dim=D,
        max_position_embeddings=N,
        rope_parameters={
            "rope_type": rope_type,
            "rope_theta": THETA,
            "original_max_position_embeddings": L0,
            **keys,
        },
    )
    return ROPE_INIT_FUNCTIONS[rope_type](config, "cpu")


def on_turns(fast=32.0, slow=1.0):
    """YaRN's own ramp, linear in the turns of a pair over L0: 1 where it turns ``fast`` times."""
    theta = unscaled()
    kept = ((L0 * theta / (2 * math.pi) - slow) / (fast - slow)).clamp(0, 1)
    return theta * kept + theta / 4 * (1 - kept)


WANTED = {
    "none": lambda: (unscaled(), 1.0),
    "linear:factor=4": lambda: (unscaled() / 4, 1.0),
    "abf:rope_theta=500000": lambda: (unscaled(500000.0), 1.0),
    "dynamic_ntk:factor=2,policy=fixed,length=1024": lambda: (
        unscaled(THETA * (2 * 4 - 1) ** (D / (D - 2))),
        1.0,
    ),
    YARN: lambda: of_the_library("yarn", factor=4.0),
    "llama3:factor=4": lambda: of_the_library(
        "llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0
    ),
    "yarn:factor=4,ramp=paper": lambda: (on_turns(), 0.1 * math.log(4) + 1),
}


@both
@pytest.mark.parametrize("spec", WANTED)
def test_the_table_is_that_of_the_method(monkeypatch, engine, spec):
    found = ENGINES[engine](monkeypatch, rope(spec)).cos_sin_cache
    theta, size = WANTED[spec]()
    # float32 frequencies of the library, times 1,024 positions.
    torch.testing.assert_close(found, table(theta, size), rtol=0, atol=2e-4)


@both
def test_other_types_and_unnamed_plug_ins_are_the_engines_own(monkeypatch, engine):
    """transformers' names stay with the engine, and a plug-in that is not named does nothing."""
    own = ENGINES[engine](monkeypatch, {"rope_type": "default", "rope_theta": THETA})
    assert type(own).__name__ == "RotaryEmbedding"
    for variable in ("VLLM_PLUGINS", "SGLANG_PLUGINS"):
        monkeypatch.setenv(variable, "others")
    room, llama = fake_vllm(monkeypatch, N)
    _, hooks = fake_sglang(monkeypatch)
    vllm.register()
    sglang.register()
    assert llama.get_rope is room.get_rope
    assert room.get_rope.__module__ == "fake_engines"
    assert hooks == {}


def test_a_plug_in_may_be_loaded_twice(monkeypatch):
    """vLLM loads it in each process, and an engine inside a process loads it again."""
    monkeypatch.setenv("VLLM_PLUGINS", "ropewalk")
    room, llama = fake_vllm(monkeypatch, N)
    vllm.register()
    first = llama.get_rope
    vllm.register()
    assert llama.get_rope is room.get_rope is first


def test_layers_that_ask_alike_share_a_table(monkeypatch):
    monkeypatch.setenv("VLLM_PLUGINS", "ropewalk")
    _, llama = fake_vllm(monkeypatch, N)
    vllm.register()
    one, same = (llama.get_rope(D, N, rope_parameters=rope(YARN)) for _ in range(2))
    other = llama.get_rope(D, N, rope_parameters=rope("linear:factor=4"))
    assert one is same
    assert other is not one


def test_vllms_table_holds_every_position_that_is_served(monkeypatch):
    assert len(in_vllm(monkeypatch, rope(YARN), most=L0, served=N).cos_sin_cache) == N
    assert len(in_vllm(monkeypatch, rope(YARN), most=N, served=L0).cos_sin_cache) == N


def test_sglangs_table_grows_as_the_method_goes_on(monkeypatch):
    made = in_sglang(monkeypatch, rope(YARN), most=L0)
    made._ensure_cos_sin_cache_length(L0 - 1)
    assert len(made.cos_sin_cache) == L0
    made._ensure_cos_sin_cache_length(700)
    theta, size = WANTED[YARN]()
    wanted = table(theta, size, len(made.cos_sin_cache))
    assert len(wanted) > 700
    torch.testing.assert_close(made.cos_sin_cache, wanted, rtol=0, atol=2e-4)


@both
def test_without_a_stated_length_the_configs_own_is_the_trained_one(monkeypatch, engine):
    named = rope(YARN)
    del named["original_max_position_embeddings"]
    found = ENGINES[engine](
        monkeypatch, named, most=L0, **({"served": L0} if engine == "vllm" else {})
    )
    theta, size = WANTED[YARN]()
    torch.testing.assert_close(found.cos_sin_cache, table(theta, size, L0), rtol=0, atol=2e-4)


@both
def test_a_part_of_the_channels_turns(monkeypatch, engine):
    """vLLM reads the share in the dict, SGLang is handed it."""
    keys = {"partial_rotary_factor": 0.5}
    named = rope("linear:factor=4", **keys)
    found = (
        in_vllm(monkeypatch, named, head=2 * D)
        if engine == "vllm"
        else in_sglang(monkeypatch, named, head=2 * D, **keys)
    )
    torch.testing.assert_close(found.cos_sin_cache, table(unscaled() / 4), rtol=0, atol=2e-4)


REFUSED = [
    ({"rope_type": "ropewalk"}, "without a method"),
    (rope("yearn:factor=4"), "did you mean yarn"),
    (rope("dynamic_ntk"), "policy=fixed,length=N"),
    (rope("dynamic_ntk:policy=at_admission,new_tokens=16"), "one table serves all requests"),
    (rope("rerope:window=64"), "a rotation alone"),
    (rope("alibi"), "a rotation alone"),
    (rope("yarn:factor=4+log_n"), "a rotation alone"),
    (rope("native"), "leaves the engine its own"),
    (rope("linear:factor=length"), "without a context length"),
    (rope(YARN, mrope_section=[8, 12, 12]), "one position a token"),
    ({**rope(YARN), "rope_type": "deepseek_yarn"}, "latent attention"),
]


@both
@pytest.mark.parametrize(("named", "said"), REFUSED)
def test_what_one_table_does_not_say_is_refused(monkeypatch, engine, named, said):
    with pytest.raises(RopewalkError, match=said):
        ENGINES[engine](monkeypatch, named)


def test_the_wheel_names_both_entry_points_and_loads_nothing_heavy():
    """An engine that is not asked for us pays for two small modules."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    named = re.findall(r'\[project\.entry-points\."(.+)"\]\n(ropewalk) = "(.+)"', project)
    assert [group for group, _, _ in named] == ["vllm.general_plugins", "sglang.srt.plugins"]
    code = (
        "import json, sys\n"
        "from importlib.metadata import EntryPoint\n"
        f"for group, name, value in {named!r}:\n"
        "    EntryPoint(name, value, group).load()()\n"
        "print(json.dumps([each for each in ('torch', 'vllm', 'sglang') if each in sys.modules]))\n"
    )
    plain = {key: value for key, value in os.environ.items() if not key.endswith("_PLUGINS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=plain,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == []
