"""The plug-ins inside the real engines: what their own rotary classes make of our tables.

Each test runs where its engine is installed beside Ropewalk; recipes/served asks whole servers.
"""

import math

import pytest
import torch

D, L0, N, HEADS, THETA = 64, 256, 1024, 3, 10000.0
ROPE = {
    "rope_type": "ropewalk",
    "rope_theta": THETA,
    "original_max_position_embeddings": L0,
}


def unscaled(base=THETA):
    return base ** -(torch.arange(0, D, 2, dtype=torch.float64) / D)


def by_turns(slow, fast):
    """1 where a pair turns ``fast`` times over L0 or more, 0 where it turns ``slow`` times."""
    turns = L0 * unscaled() / (2 * math.pi)
    return ((turns - slow) / (fast - slow)).clamp(0, 1)


def blended(kept, factor=4.0):
    return unscaled() * kept + unscaled() / factor * (1 - kept)


def at_pairs(slow, fast):
    """YaRN's ramp over pairs, its cut-offs rounded."""

    def pair(turns):
        return D * math.log(L0 / (turns * 2 * math.pi)) / (2 * math.log(THETA))

    low, high = max(math.floor(pair(fast)), 0), min(math.ceil(pair(slow)), D - 1)
    pairs = torch.arange(D // 2, dtype=torch.float64)
    return 1 - ((pairs - low) / (high - low)).clamp(0, 1)


MAGNITUDE = 0.1 * math.log(4) + 1
WANTED = {
    "none": (unscaled(), 1.0),
    "linear:factor=4": (unscaled() / 4, 1.0),
    "ntk_aware:factor=4": (unscaled(THETA * 4 ** (D / (D - 2))), 1.0),
    "abf:rope_theta=500000": (unscaled(500000.0), 1.0),
    "dynamic_ntk:factor=2,policy=fixed,length=1024": (
        unscaled(THETA * (2 * N / L0 - 1) ** (D / (D - 2))),
        1.0,
    ),
    "dynamic_yarn:policy=fixed,length=1024": (blended(at_pairs(1, 32)), MAGNITUDE),
    "yarn:factor=4": (blended(at_pairs(1, 32)), MAGNITUDE),
    "yarn:factor=4,ramp=paper": (blended(by_turns(1, 32)), MAGNITUDE),
    "ntk_by_parts:factor=4": (blended(at_pairs(1, 32)), 1.0),
    "llama3:factor=4": (blended(by_turns(1, 4)), 1.0),
}


def in_vllm():
    """Its ``get_rope`` under our plug-in."""
    pytest.importorskip("vllm")
    from ropewalk.integrations.plugins import vllm

    vllm.register()
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.model_executor.layers import rotary_embedding

    def made(spec):
        with set_current_vllm_config(VllmConfig()):
            return rotary_embedding.get_rope(
                D, N, is_neox_style=True, rope_parameters={**ROPE, "spec": spec}
            )

    return made


def in_sglang():
    pytest.importorskip("sglang")
    from sglang.srt.plugins import load_plugins

    load_plugins()
    from sglang.srt.layers.rotary_embedding import factory

    return lambda spec: factory.get_rope(D, D, N, THETA, rope_scaling={**ROPE, "spec": spec})


ENGINES = {"vllm": in_vllm, "sglang": in_sglang}


@pytest.mark.parametrize("spec", WANTED)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_engines_own_class_turns_by_the_method(engine, spec, monkeypatch):
    monkeypatch.setenv("VLLM_PLUGINS", "ropewalk")
    monkeypatch.setenv("SGLANG_PLUGINS", "ropewalk")
    rotary = ENGINES[engine]()(spec)
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(N, HEADS * D, generator=generator) for _ in range(2))
    turned = rotary.forward_native(torch.arange(N), query.clone(), key.clone())
    for vectors, found in zip((query, key), turned, strict=True):
        torch.testing.assert_close(found, rotated(vectors, *WANTED[spec]), rtol=0, atol=2e-3)


def rotated(vectors, theta, size):
    """Pairs of halves as complex numbers, times A e^(i m theta)."""
    halves = vectors.double().reshape(N, HEADS, 2, D // 2)
    pairs = torch.complex(halves[:, :, 0], halves[:, :, 1])
    angles = torch.outer(torch.arange(N, dtype=torch.float64), theta)
    turned = pairs * torch.polar(torch.full_like(angles, size), angles)[:, None]
    return torch.cat([turned.real, turned.imag], dim=-1).reshape(N, HEADS * D).float()
