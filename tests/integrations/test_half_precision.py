"""Models of half precision: made so, cast after they were made, cast back, cast while extended."""

import pytest
import torch
from torch.testing import assert_close

import ropewalk as rw
from in_use import IDS, SEAMS, full, small
from recipes.families.sharpened import L0

ROUGH = 0.05
"""Of the largest logit."""


def apart(found, exact):
    """Relative, of three tokens in four: rounding hands single tokens to other experts."""
    return float((found.float() - exact).abs().amax(-1).quantile(0.75) / exact.abs().max())


@SEAMS
@pytest.mark.parametrize(
    "family", ["llama", "llama4_text", "deepseek_v3", "mixtral", "gpt_oss", "hunyuan_v1_dense"]
)
def test_a_model_that_was_cast_is_measured_and_proven(family, spec):
    """Complex angles, latent keys, experts that change hands by rounding, norms after the
    rotation. The same weights in float32 are what it should compute."""
    model = small(family, dtype=torch.bfloat16)
    exact = small(family, dtype=torch.bfloat16).float()
    if "at_birth" in spec and family == "gpt_oss":
        with pytest.raises(rw.RopewalkError, match="at_birth"):
            rw.extend(model, spec)
        return
    with rw.extend(model, spec), rw.extend(exact, spec):
        assert apart(full(model), full(exact)) < ROUGH
        spread = {"position_ids": torch.arange(44)[None] * 3}
        far = full(exact, attention_mask=torch.ones_like(IDS), **spread)
        assert apart(full(model), far) > ROUGH


@pytest.mark.parametrize("spec", ["native", "dynamic_ntk"])
def test_a_wrong_rotation_is_no_rounding(spec):
    """Right at the first positions, where the layout is measured; all tokens move at others."""
    model = small("mixtral", dtype=torch.bfloat16)
    rotate = model.model.rotary_emb.forward
    model.model.rotary_emb.forward = lambda x, position_ids: rotate(x, position_ids.clamp(max=L0))
    with pytest.raises(rw.RopewalkError, match="changes its output at position"):
        rw.extend(model, spec)


@pytest.mark.parametrize("family", ["llama", "deepseek_v3", "llama4_text"])
def test_native_is_the_rounded_rotation_of_a_model_that_was_cast(family):
    """A cast rounds frequencies too: at far positions it is another rotation, and the model's."""
    model = small(family, dtype=torch.bfloat16, max_position_embeddings=8192)
    far = {"position_ids": torch.arange(44)[None] + 32000}
    stock, rounded = full(model, **far), full(model)
    with rw.extend(model, "native"):
        for found, expected in ((full(model, **far), stock), (full(model), rounded)):
            room = 0.05 * float(expected.abs().max())
            assert_close(found, expected, rtol=0, atol=room)


def test_a_dtype_that_changes_after_the_installation():
    """Channel weights that were kept in the old dtype ended in an error."""
    model = small("hunyuan_v1_dense")
    with rw.extend(model, "dynamic_ntk"):
        model.to(torch.bfloat16)
        assert full(model).isfinite().all()
