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

from ropewalk.engines.reading import EngineRaises, Reading, length
from ropewalk.engines.turning import Turning, stretched, unscaled

TRAINED = "max_trained_positions"
_NULL_FACTOR = "TypeError: unsupported operand type(s) for *: 'NoneType' and 'int'"


def is_nomic(reading: Reading) -> bool:
    return reading.model_type == "nomic_bert" or reading.architecture == "NomicBertModel"


def trained_positions(reading: Reading, max_position: int) -> int:
    """T."""
    value = reading.rope.get(TRAINED)
    if value is None and is_nomic(reading):
        value = reading.text.get(TRAINED) or reading.longest
    return max_position if value is None else length(value, TRAINED)


def inner_term(factor: float, max_position: int, trained: int) -> float:
    """a P / T - (a - 1): 1 where nothing is scaled, negative where P is far below T."""
    return factor * max_position / trained - (factor - 1)


def dynamic(reading: Reading, max_position: int) -> Turning:
    """The rule of 0.33.0; ``rope_parameters`` may be null, which is type default.

    EngineRaises where P is so far below T that the base is no longer a real number. vLLM itself
    raises nothing there: it casts complex angles to real ones and serves what comes out.
    """
    factor = reading.required("factor", _NULL_FACTOR)
    inner = inner_term(factor, max_position, trained_positions(reading, max_position))
    if inner <= 0:
        raise EngineRaises(_not_a_rotation(reading, inner, max_position))
    keys = ("factor", TRAINED)
    theta = unscaled(reading) if inner == 1 else stretched(reading, inner)
    return Turning(
        inv_freq=theta, table_rows=max_position, choice="one base for every length", keys_read=keys
    )


def dynamic_before_41277(reading: Reading, max_position: int) -> Turning:
    """The rule of the releases before that pull request."""
    factor = reading.required("factor", _NULL_FACTOR)
    return Turning(
        inv_freq=stretched(reading, factor * factor - (factor - 1)),
        table_rows=math.ceil(max_position * factor),
        choice="one base for every length",
        keys_read=("factor",),
    )


def _not_a_rotation(reading: Reading, inner: float, rows: int) -> str:
    """vLLM casts cos and sin of complex angles x + iy to real: cos^2 + sin^2 = cosh(y)^2."""
    geometry = reading.section.geometry()
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
