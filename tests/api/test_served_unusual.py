"""Servers that tell no number behind a position, weights in few bits, and embeddings."""

import pytest
import torch

import ropewalk as rw
from fake_server import VLLM, Embeds, StrictVLLM, serving
from recipes.families.sharpened import tiny
from recipes.served.models import in_four_bits
from ropewalk.api.serving import verify_served
from ropewalk.core.errors import RopewalkError

L0, LENGTH = 64, 200
YARN = "yarn:factor=4"
CANNOT_TELL = "cannot tell"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny(dtype=torch.float32, num_hidden_layers=2, max_position_embeddings=L0)
    model.save_pretrained(folder)
    return str(folder), model


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    model = tiny("nomic_bert", dtype=torch.float32, max_position_embeddings=L0)
    model.save_pretrained(folder)
    return str(folder), model


def predicting(model, spec, end=None):
    """Log-probabilities under a method; no numbers from position ``end`` on."""

    @torch.no_grad()
    def predict(ids):
        with rw.extend(model, spec):
            found = model(ids[None]).logits[0].double().log_softmax(dim=-1)
        if end is not None:
            found[end:] = torch.nan
        return found

    return predict


def asked(checkpoint, predict, method, kind=VLLM):
    with serving(kind("vllm", predict)) as url:
        return verify_served(checkpoint[0], url, method=method, length=LENGTH)


@pytest.mark.parametrize("kind", [VLLM, StrictVLLM])
@pytest.mark.parametrize(
    ("method", "inside"),
    # Inside the trained length dynamic NTK is plain RoPE: no row tells the two apart.
    [("dynamic_ntk:factor=4", "dynamic_ntk:factor=4"), (YARN, "none"), ("none", "none")],
)
def test_no_numbers_from_the_end_of_a_table_on_are_a_short_table(checkpoint, method, inside, kind):
    """vLLM's 64 rows for ``dynamic`` over this config; NaN comes as such, or as an error."""
    found = asked(checkpoint, predicting(checkpoint[1], "none", L0), method, kind)
    assert found["verdict"] == f"{inside} inside a table of 64 rows"
    assert found["departs_at"] == (1 if method == YARN else L0)  # position 0 sees itself alone
    assert found["finding"]["id"] == "short-table"
    assert found["undefined"] == LENGTH - 1 - L0
    assert not found["passed"]
    assert f"not {method}" in found["sentence"]


@pytest.mark.parametrize("kind", [VLLM, StrictVLLM])
@pytest.mark.parametrize("end", [50, 65, 128])
def test_no_numbers_from_elsewhere_on_are_nobodys(checkpoint, end, kind):
    """No length of the config ends there: something else is broken, and where it begins is told."""
    found = asked(checkpoint, predicting(checkpoint[1], YARN, end), YARN, kind)
    assert found["verdict"] == CANNOT_TELL
    assert found["departs_at"] == end
    assert found["finding"]["id"] in ("short-table", "not-a-number")
    assert f"the first at position {end}" in found["sentence"]


def test_a_server_without_a_single_number_is_an_error(checkpoint):
    with pytest.raises(RopewalkError, match="it computes NaN"):
        asked(checkpoint, predicting(checkpoint[1], YARN, 0), YARN, StrictVLLM)


def test_finite_numbers_behind_a_table_are_nobodys_and_the_audit_says_why(checkpoint):
    """What lies behind a table in memory may be anything: the place is told, no name."""
    right = predicting(checkpoint[1], "none")
    generator = torch.Generator().manual_seed(2)

    def beyond(ids):
        found = right(ids)
        noise = torch.randn(found.shape, generator=generator, dtype=torch.float64)
        return torch.cat([found[:L0], (found + 3 * noise).log_softmax(-1)[L0:]])

    found = asked(checkpoint, beyond, "none")
    assert found["verdict"] == CANNOT_TELL
    assert L0 <= found["departs_at"] < L0 + 4
    assert found["finding"]["id"] == "short-table"


def test_four_bit_weights_are_the_method_in_few_bits_or_nobodys(checkpoint):
    rounded = tiny(dtype=torch.float32, num_hidden_layers=2, max_position_embeddings=L0)
    rounded.load_state_dict({n: in_four_bits(w) for n, w in checkpoint[1].state_dict().items()})
    found = asked(checkpoint, predicting(rounded, YARN), YARN)
    assert found["verdict"] in (YARN, CANNOT_TELL)
    assert found["passed"] == ("few bits are" in found["sentence"])


def mean(states):
    return states.mean(dim=0)


def first(states):
    return states[0]


def embedding(model, spec, pool=mean):
    """Of the last states under a method."""

    @torch.no_grad()
    def embed(ids):
        with rw.extend(model, spec):
            return pool(model.base_model(ids[None]).last_hidden_state[0])

    return embed


@pytest.mark.parametrize("pool", [mean, first])
@pytest.mark.parametrize("method", ["none", "dynamic_ntk:factor=2,policy=fixed,length=256", YARN])
def test_an_encoder_is_identified_by_its_embeddings(encoder, method, pool):
    found = asked(encoder, embedding(encoder[1], method, pool), method, Embeds)
    assert found["verdict"] == method
    assert found["passed"]
    assert found["unit"] == "of a unit vector"
    assert pool.__name__ in found["told"]
    own = found["candidates"][0]["cosines"]
    assert len(own) == len(found["positions"]) == 8
    assert min(own) > 1 - 1e-6


def test_the_cosine_of_another_method_falls_with_the_length(encoder):
    """Inside the trained length dynamic NTK is plain RoPE; beyond, a server without it departs."""
    model, sent = encoder[1], []
    served, local = embedding(model, "none"), embedding(model, "dynamic_ntk:factor=2")

    def listening(ids):
        sent.append(ids)
        return 3 * served(ids)  # a server need not send unit vectors

    found = asked(encoder, listening, "dynamic_ntk:factor=2", Embeds)
    assert found["verdict"] == "none"
    (own,) = (each for each in found["candidates"] if each["name"] == found["asked"])
    wanted = [torch.cosine_similarity(served(ids), local(ids), dim=0).item() for ids in sent]
    assert own["cosines"] == pytest.approx(wanted, abs=1e-5)
    pairs = zip(found["positions"], own["cosines"], strict=True)
    inside, beyond = [], []
    for row, cosine in pairs:
        (inside if row < L0 else beyond).append(cosine)
    assert min(inside) > 1 - 1e-6
    assert max(beyond) < 1 - 1e-4
    assert L0 <= found["departs_at"] < L0 + LENGTH // 8


def test_an_embedding_of_another_width_is_refused(encoder):
    with pytest.raises(RopewalkError, match="7 numbers"):
        asked(encoder, lambda ids: torch.ones(7), "none", Embeds)
