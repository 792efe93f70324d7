"""vLLM's ``dynamic`` type: one static base, before and after pull request 41277.

    after   b * (a P / T - (a - 1))^(d / (d - 2)),  a table of P rows
    before  b * (a a - (a - 1))^(d / (d - 2)),      a table of a P rows

a   factor, b   rope_theta, d   rotary_dim
P   max_position: max_position_embeddings; for Nomic's models the served length
T   max_trained_positions: of the rope dict (for Nomic's models also beside it), else P, and
    then the base stays b

The rule before took P * a for the length, so that the inner term was a constant at any length.

Source: vLLM pull request 41277 (issue 41236); 0.33.0, rotary_embedding/__init__.py and
    dynamic_ntk_scaling_rope.py, models/config.py (NomicBertModelConfig).
"""

import math
from dataclasses import replace

from ropewalk.engines.answer import Rotation
from ropewalk.engines.reading import EngineRaises, Reading, length
from ropewalk.engines.rows import UnscaledRow, stretched
from ropewalk.engines.served import FIXED_BASE, constant_dynamic
from ropewalk.engines.stated import Stated, required
from ropewalk.engines.vllm.lengths import is_nomic

TRAINED = "max_trained_positions"
_FACTOR = required("factor", "TypeError: unsupported operand type(s) for *: 'NoneType' and 'int'")


def trained_positions(reading: Reading, max_position: int) -> int:
    """T."""
    value = reading.rope.get(TRAINED)
    if value is None and is_nomic(reading):
        value = reading.text.get(TRAINED) or reading.longest
    return max_position if value is None else length(value, TRAINED)


def inner_term(factor: float, max_position: int, trained: int) -> float:
    """a P / T - (a - 1): 1 where nothing is scaled, negative where P is far below T."""
    return factor * max_position / trained - (factor - 1)


def dynamic(reading: Reading, max_position: int) -> Rotation:
    """The rule of 0.33.0; ``rope_parameters`` may be null, which is type default.

    EngineRaises where P is so far below T that the base is no longer a real number. vLLM itself
    raises nothing there: it casts complex angles to real ones and serves what comes out.
    """
    factor = _FACTOR(reading).value
    inner = inner_term(factor, max_position, trained_positions(reading, max_position))
    if inner <= 0:
        raise EngineRaises(_not_a_rotation(reading, inner, max_position))
    rotation = UnscaledRow()(reading) if inner == 1 else stretched(reading, Stated(inner))
    return replace(
        rotation, table_rows=max_position, choice=FIXED_BASE, keys_read=("factor", TRAINED)
    )


def dynamic_before_41277(reading: Reading, max_position: int) -> Rotation:
    """The rule of the releases before that pull request."""
    return constant_dynamic(reading, max_position, _FACTOR(reading))


def _not_a_rotation(reading: Reading, inner: float, rows: int) -> str:
    """vLLM casts cos and sin of complex angles x + iy to real: cos^2 + sin^2 = cosh(y)^2."""
    geometry = reading.geometry()
    d = geometry.rotary_dim
    if inner == 0 or d <= 2:
        return "not a rotation: the effective base is 0"
    base = geometry.rope_theta * complex(inner) ** (d / (d - 2))
    growth = max(abs((base ** (-2 * i / d)).imag) for i in range(d // 2)) * (rows - 1)
    largest = math.cosh(growth) ** 2 if growth < 300 else math.inf
    return (
        f"not a rotation: cos^2+sin^2 up to {largest:.4g}; effective base {base} "
        "(complex numbers cast to real)"
    )
