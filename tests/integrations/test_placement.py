"""A model over several devices: here the CPU and the disk, since weights elsewhere are the trap."""

from pathlib import Path

import pytest
import torch

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import ChunkedPass, FullPass
from ropewalk.data import toy_model
from ropewalk.integrations.loading import LoadedModel, load_model
from ropewalk.integrations.placement import Spread, input_device
from ropewalk.integrations.sameness import last_logits, require_same
from ropewalk.integrations.session import Session
from ropewalk.methods.spec import parse_spec

METHODS = ("none", "yarn:factor=4", "self_extend:group_size=4,window=64", "dynamic_ntk:step=8")
IDS = torch.randint(4, 400, (320,), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def whole() -> LoadedModel:
    return load_model(toy_model(), device=torch.device("cpu"))


@pytest.fixture(scope="module")
def spread() -> LoadedModel:
    """Half of the weights wait on the disk."""
    return load_model(toy_model(), device=Spread(max_memory={"cpu": 1_200_000}))


def test_some_weights_wait_elsewhere(spread: LoadedModel) -> None:
    places = set(spread.model.hf_device_map.values())
    assert "disk" in places
    assert len(places) > 1
    assert any(parameter.is_meta for parameter in spread.model.parameters())
    assert input_device(spread.model) == torch.device("cpu")


def test_a_spread_model_has_the_same_fingerprint(whole: LoadedModel, spread: LoadedModel) -> None:
    assert spread.fingerprint == whole.fingerprint


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("split", [FullPass(), ChunkedPass(100)], ids=lambda each: each.name)
def test_methods_compute_the_same_on_a_spread_model(whole, spread, method, split) -> None:
    losses = []
    for loaded in (whole, spread):
        session = Session(loaded.model)
        scorer = session.use(parse_spec(method), len(IDS), split)
        losses.append(scorer.token_losses(IDS, 1, split))
        session.close()
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)


def test_a_model_whose_embeddings_wait_elsewhere_is_asked_where_they_are_computed(whole) -> None:
    away = load_model(toy_model(), device=Spread(max_memory={"cpu": 100_000})).model
    assert next(away.parameters()).is_meta
    found = last_logits(away, IDS)
    assert require_same(found, last_logits(whole.model, IDS), "a spread model") < 1e-5


def test_without_accelerate_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(RopewalkError, match="device auto needs the packages accelerate"):
        Spread().arguments()
