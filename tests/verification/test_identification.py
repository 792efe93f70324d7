"""The rule that names a server, on made-up log-probabilities."""

import pytest
import torch

from ropewalk.verification.identification import Judgement, Residuals, departure, distinct

ROWS = 400


def vector(seed, size=1.0):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(ROWS, 1, generator=generator, dtype=torch.float64)


ASKED, RIVAL, NEAR = vector(1), vector(2), vector(1) + vector(3, 0.05)


def judged(server, *, rivals=(RIVAL,)):
    def compared(name, logprobs):
        return Residuals(name=name, signed=server - logprobs)

    listed = [compared("asked", ASKED)]
    listed += [compared(f"rival {i}", each) for i, each in enumerate(rivals)]
    return Judgement.of(listed, [compared("a neighbour", NEAR)])


@pytest.mark.parametrize("rounding", [0.0, 1e-5, 1e-2, 0.05])
def test_rounding_of_any_size_leans_nowhere(rounding):
    found = judged(ASKED + vector(4, rounding))
    assert found.identified is found.candidates[0]


@pytest.mark.parametrize("rounding", [0.0, 1e-3, 0.02])
@pytest.mark.parametrize("way", [0.3, -0.3, 0.8])
def test_a_server_on_the_way_to_a_neighbour_is_nobodys(way, rounding):
    found = judged(ASKED + way * (NEAR - ASKED) + vector(4, rounding))
    assert found.identified is None
    assert "point to a neighbour" in found.doubt


def test_two_that_are_too_close_are_both_named():
    found = judged(ASKED + vector(4, 0.02), rivals=(ASKED + vector(5, 0.02),))
    assert found.identified is None
    assert "rival 0" in found.doubt


def test_what_few_bits_do_not_explain_is_nobodys():
    found = judged(ASKED + vector(4, 0.3))
    assert found.identified is None
    assert "more than few bits explain" in found.doubt


def test_a_number_that_is_none_names_nobody():
    server = ASKED.clone()
    server[7] = torch.nan
    assert judged(server).undefined
    assert judged(server).identified is None


def test_candidates_that_predict_the_same_are_kept_once():
    same = [Residuals(name=name, signed=ASKED) for name in ("first", "second")]
    assert [each.name for each in distinct(same)] == ["first"]


def test_a_departure_lasts():
    """One odd row is none; the first of many is."""
    signed = vector(4, 1e-4)
    signed[50] = 1.0
    signed[300:] = 1.0
    asked = Residuals(name="asked", signed=signed)
    assert departure(asked, torch.arange(ROWS), noise=1e-4) == 300
    assert departure(Residuals(name="x", signed=vector(4, 1e-5)), torch.arange(ROWS), 1e-4) is None
