"""Length policies: what each says of rows, keys and sequences."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from length_policies import L0, POLICIES, STEP

from ropewalk.core.encoding import KeyStorage
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.core.lengths import (
    AtAdmission,
    AtBirth,
    Fixed,
    PerQuery,
    SimulatedAtBirth,
    WholeSequence,
)
from ropewalk.methods.build import encoding

GEOMETRY = RopeGeometry(head_dim=8, rope_theta=1e4, trained_length=L0)


TOKENS = (1, 2, L0 - 1, L0, L0 + 1, L0 + STEP, L0 + STEP + 1, 10 * L0)
"""m + 1: the tokens up to and with a row."""


def seen(policy, tokens, sequence):
    """L of the rows with that many tokens, in a sequence that has ``sequence`` by now."""
    positions = torch.tensor([tokens]) - 1
    lengths = policy.row_lengths(positions, torch.tensor([sequence]))
    assert lengths.dtype == torch.int64
    assert lengths.shape == positions.shape
    return lengths[0].tolist()


@pytest.mark.parametrize("step", [1, 3, STEP, 1000])
def test_per_query_is_the_formula(step):
    policy = PerQuery(trained_length=L0, step=step)
    expected = [n if n <= 0 else L0 + step * max(0, math.ceil((n - L0) / step)) for n in TOKENS]
    for sequence in (TOKENS[-1], 10**6):
        assert seen(policy, TOKENS, sequence) == expected


def test_per_query_at_the_borders():
    policy = PerQuery(trained_length=L0, step=STEP)
    tokens = [L0 - 1, L0, L0 + 1, L0 + STEP, L0 + STEP + 1]
    assert seen(policy, tokens, 10**6) == [L0, L0, L0 + STEP, L0 + STEP, L0 + 2 * STEP]


@given(tokens=st.integers(1, 2**40), step=st.integers(1, 2**20))
def test_per_query_covers_its_row_by_less_than_a_step(tokens, step):
    (length,) = seen(PerQuery(trained_length=L0, step=step), [tokens], tokens)
    assert max(tokens, L0) <= length < max(tokens, L0) + step
    assert (length - L0) % step == 0


def test_an_admitted_sequence_has_the_length_that_it_may_reach():
    """``sequence_lengths`` are those of its first call; told beforehand, it is one number."""
    policy = AtAdmission(trained_length=L0, new_tokens=100)
    assert seen(policy, TOKENS, 30) == [130] * len(TOKENS)
    assert seen(policy, TOKENS, 1000) == [1100] * len(TOKENS)
    assert seen(AtAdmission(trained_length=L0, new_tokens=0), TOKENS, 30) == [L0] * len(TOKENS)
    assert policy.admitted(30) == Fixed(length=130)
    assert AtAdmission(trained_length=L0, new_tokens=0).admitted(30) == Fixed(length=L0)
    assert WholeSequence(trained_length=L0).admitted(30) == WholeSequence(trained_length=L0)
    told = encoding("dynamic_ntk:policy=at_admission,new_tokens=100", GEOMETRY)
    assert (told.length_policy, told.path_independent) == (policy, True)
    assert told.key_storage is KeyStorage.UNROTATED


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("policy=at_admission", "without new_tokens: expected for example new_tokens="),
        ("policy=at_admission,new_tokens=-1", "new_tokens=-1"),
        ("new_tokens=8", "only at_admission has it"),
        ("policy=at_admission,new_tokens=8,length=9", "only fixed has it"),
    ],
)
def test_the_words_of_an_admission_are_checked(words, said):
    with pytest.raises(RopewalkError, match=said):
        encoding(f"dynamic_ntk:{words}", GEOMETRY)


def test_fixed_is_one_number():
    policy = Fixed(length=100)
    assert seen(policy, TOKENS, 10**6) == [100] * len(TOKENS)
    assert policy.settled_length == 100


@pytest.mark.parametrize("sequence", [L0 - 1, L0, L0 + 1, 10 * L0])
def test_whole_sequence_is_the_sequence_for_all_rows(sequence):
    tokens = [n for n in TOKENS if n <= sequence]
    assert seen(WholeSequence(trained_length=L0), tokens, sequence) == [max(sequence, L0)] * len(
        tokens
    )


def test_at_birth_rows_see_themselves_and_keys_the_call_that_wrote_them():
    policy = AtBirth(trained_length=L0)
    assert seen(policy, TOKENS, 10**6) == [max(n, L0) for n in TOKENS]
    written = torch.tensor([L0 + 1, 10 * L0])
    assert policy.birth_lengths(torch.zeros(2, 1), written)[:, 0].tolist() == [L0 + 1, 10 * L0]


def births(policy, tokens, sequence):
    """L of the keys with that many tokens, written by a call after which there are ``sequence``."""
    positions = torch.tensor([tokens]) - 1
    return policy.birth_lengths(positions, torch.tensor([sequence]))[0].tolist()


def test_normxu_rows_see_the_sequence_and_keys_themselves():
    policy = encoding("dynamic_ntk:policy=normxu", GEOMETRY).length_policy
    assert policy == SimulatedAtBirth(trained_length=L0)
    assert seen(policy, TOKENS, 10 * L0) == [10 * L0] * len(TOKENS)
    assert births(policy, TOKENS, 10 * L0) == [max(n, L0) for n in TOKENS]


PROMPT = L0 + 5


@pytest.mark.parametrize(
    ("policy", "rows", "keys"),
    [
        (WholeSequence, lambda n: max(n, PROMPT), None),
        (AtBirth, lambda n: max(n, L0), lambda n: max(n, PROMPT)),
        (SimulatedAtBirth, lambda n: max(n, PROMPT), lambda n: max(n, L0)),
    ],
)
def test_streams_see_the_prompt_at_once_and_then_token_by_token(policy, rows, keys):
    """A decoder that held P tokens after its first call, and n when it computed token n."""
    streamed = policy(trained_length=L0).streamed(PROMPT)
    assert not streamed.path_independent
    assert seen(streamed, TOKENS, 10 * L0) == [rows(n) for n in TOKENS]
    if keys is not None:
        assert births(streamed, TOKENS, 10 * L0) == [keys(n) for n in TOKENS]


@pytest.mark.parametrize("policy", [AtBirth, SimulatedAtBirth, WholeSequence])
def test_a_prompt_within_the_trained_length_changes_nothing(policy):
    """Up to the trained length nothing depends on L: what ends there, ends alike."""
    for prompt in (2, L0 // 2, L0):
        alone, prompted = (policy(trained_length=L0).streamed(p) for p in (1, prompt))
        assert seen(prompted, TOKENS, 10 * L0) == seen(alone, TOKENS, 10 * L0)
        if alone.keys_settle_at_birth:
            found, expected = (births(each, TOKENS, 10 * L0) for each in (prompted, alone))
            assert found == expected


def test_each_sequence_of_a_batch_has_its_own_length():
    positions = torch.tensor([[0, 70], [0, 199]])
    lengths = WholeSequence(trained_length=L0).row_lengths(positions, torch.tensor([71, 200]))
    assert lengths.tolist() == [[71, 71], [200, 200]]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_happens_up_to_the_trained_length(policy):
    for sequence in (2, L0 - 1, L0):
        assert set(seen(policy, range(1, sequence + 1), sequence)) == {L0}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_promise_of_path_independence_is_kept_by_the_lengths(policy):
    """A row and its keys see the same L whenever they are computed, or the policy says so."""
    row = 2 * L0
    soon, late = (seen(policy, [row], sequence) for sequence in (row, 5 * L0))
    keys_move = policy.keys_settle_at_birth
    assert policy.path_independent == (soon == late and not keys_move)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PerQuery(trained_length=L0, step=0), "step=0"),
        (lambda: PerQuery(trained_length=L0, step=-1), "step=-1"),
        (lambda: Fixed(length=1), "length=1"),
        (lambda: Fixed(length=0), "length=0"),
    ],
)
def test_impossible_policies_are_refused(make, message):
    with pytest.raises(RopewalkError, match=message):
        make()
