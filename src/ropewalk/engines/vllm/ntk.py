"""vLLM's own type ``ntk``.

Source: vLLM 0.33.0 ntk_scaling_rope.py.
"""

from ropewalk.engines.answer import Rotation
from ropewalk.engines.reading import Reading
from ropewalk.engines.stated import required
from ropewalk.frequencies.spread_ntk import SpreadNTK


def ntk(reading: Reading) -> Rotation:
    """The base times s, then all frequencies over s^(2/d); mixed_b gives each pair a divisor."""
    return Rotation(
        frequencies=SpreadNTK(
            geometry=reading.geometry(),
            factor=required("factor", "KeyError: 'factor'")(reading).value,
            mixed_b=reading.number("mixed_b"),
        ),
        keys_read=("factor", "mixed_b"),
    )
