"""Just past the trained length, on the demo model: what NormXU reported, and what a stream shows.

Claims of Consistent-DynamicNTKRoPE, README and figure: with one base for keys and queries the
loss stays low; with keys frozen at their own base it jumps just past the trained length and
then improves. Margins are a third or less of what six windows of the book gave.
"""

import cmath

import pytest
import torch

import ropewalk as rw
from ropewalk.data import demo_book
from ropewalk.opening.checkpoints import open_checkpoint

JUST_PAST, FAR = 320, 1024
ONE_BASE = "dynamic_ntk:policy=whole_sequence"
SIMULATED = "dynamic_ntk:policy=normxu"
AT_BIRTH = "dynamic_ntk:policy=at_birth"
ALPHA_ONE = "dynamic_ntk:factor=1,policy=whole_sequence"


@pytest.fixture(scope="module")
def losses():
    """Nats per token by method, mode and length."""
    loaded = open_checkpoint(None)
    text = demo_book().read_text("utf-8")[-400_000:]
    found = {}
    for methods, mode, length in (
        (("none", ONE_BASE, SIMULATED), "full", JUST_PAST),
        ((AT_BIRTH,), "stream", JUST_PAST),
        ((ONE_BASE, SIMULATED, ALPHA_ONE), "full", FAR),
    ):
        with torch.inference_mode():
            cells = rw.perplexity(
                loaded.model,
                [text],
                [length],
                methods=methods,
                modes=[mode],
                tokenizer=loaded.require_tokenizer(),
                windows=6,
                tail_tokens=64,
                batch=6,
            )
        found.update({(cell["method"], mode, length): cell["nll"] for cell in cells})
    return found


def turned(x, position, length, trained, alpha=2.0, base=10_000.0):
    """A vector of pairs (i, i + d/2) at a position under the dynamic base of a length."""
    width = len(x)
    if length > trained:
        base *= (alpha * length / trained - (alpha - 1)) ** (width / (width - 2))
    angles = [position * base ** (-2 * i / width) for i in range(width // 2)]
    pairs = [complex(x[i], x[i + width // 2]) for i in range(width // 2)]
    spun = [z * cmath.exp(1j * angle) for z, angle in zip(pairs, angles, strict=True)]
    return [z.real for z in spun] + [z.imag for z in spun]


def test_the_simulation_is_that_of_the_repository():
    """Queries all under the base of the whole sequence; keys below L0 under the plain base, the
    others each under that of its own n + 1."""
    trained, tokens, width = 4, 11, 8
    q, k, v = torch.randn(3, tokens, width, dtype=torch.float64, generator=rng(3))
    geometry = rw.RopeGeometry(head_dim=width, rope_theta=1e4, trained_length=trained)
    found = rw.attend(
        *(x[None, None] for x in (q, k, v)), rw.encoding("dynamic_ntk:policy=normxu", geometry)
    )
    keys = torch.tensor(
        [
            turned(k[n].tolist(), n, n + 1 if n >= trained else trained, trained)
            for n in range(tokens)
        ],
        dtype=torch.float64,
    )
    queries = torch.tensor(
        [turned(q[m].tolist(), m, tokens, trained) for m in range(tokens)], dtype=torch.float64
    )
    scores = (queries @ keys.T) * width**-0.5
    mask = torch.ones(tokens, tokens).triu(1).bool()
    expected = scores.masked_fill(mask, float("-inf")).softmax(-1) @ v
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=1e-12)


def rng(seed):
    return torch.Generator().manual_seed(seed)


def test_keys_frozen_at_birth_jump_just_past_the_trained_length_in_the_simulation(losses):
    jump = losses[SIMULATED, "full", JUST_PAST] - losses[ONE_BASE, "full", JUST_PAST]
    assert jump > 0.4


def test_they_improve_further_out(losses):
    assert losses[SIMULATED, "full", FAR] < losses[SIMULATED, "full", JUST_PAST] - 0.08


def test_a_true_stream_loses_a_fraction_of_what_the_simulation_says(losses):
    base = losses[ONE_BASE, "full", JUST_PAST]
    simulated = losses[SIMULATED, "full", JUST_PAST] - base
    streamed = losses[AT_BIRTH, "stream", JUST_PAST] - base
    assert 0.04 < streamed < simulated / 3


def test_alpha_one_ends_above_alpha_two(losses):
    assert losses[ALPHA_ONE, "full", FAR] > losses[ONE_BASE, "full", FAR] + 0.08
