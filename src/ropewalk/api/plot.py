"""Pictures as figures of matplotlib: ``rw.plot.curves(result)``, ``rw.plot.distances(config)``.

Nothing is written; save one with ``figure.savefig``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ropewalk.analysis.sinusoidal import sinusoidal as sinusoidal_table
from ropewalk.comparing.result import CompareResult
from ropewalk.methods.pictures import Subject, picture
from ropewalk.opening.shapes import Config, parsed_config, shape_of, tokens_of
from ropewalk.reporting import decay as decays
from ropewalk.reporting import heatmaps, pairs
from ropewalk.reporting.plots import draw_curves
from ropewalk.reporting.run_record import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = ("none", "rerope", "leaky_rerope", "self_extend", "dual_chunk", "string")
SCALINGS = ("none", "linear", "ntk_aware", "ntk_by_parts")


def curves(run: CompareResult | str | Path) -> "Figure":
    """Perplexity by length of what ``compare`` returned, or of a run folder."""
    if isinstance(run, CompareResult):
        return draw_curves(run.document)
    return draw_curves(RunRecord.read(Path(run)).document)


def distances(config: Config, methods: Sequence[str] = MAPS, length: int | str = "2x") -> "Figure":
    """The distance that each query is shown to each key, a panel a method."""
    return heatmaps.draw_distances(_record("distances", config, methods, [length]))


def angles(
    config: Config,
    methods: Sequence[str] = SCALINGS[:3],
    lengths: Sequence[int | str] = ("2x", "4x"),
) -> "Figure":
    """The angle of each pair at each position, a panel a length and method."""
    return heatmaps.draw_angles(_record("angles", config, methods, lengths))


def wavelengths(
    config: Config, methods: Sequence[str] = SCALINGS, length: int | str = "4x"
) -> "Figure":
    """The wavelength of each pair against the trained length."""
    return pairs.draw_wavelengths(_record("wavelengths", config, methods, [length]))


def reach(config: Config, methods: Sequence[str] = SCALINGS, length: int | str = "4x") -> "Figure":
    """The angle that each pair reaches, against what training showed of it."""
    return pairs.draw_reach(_record("reach", config, methods, [length]))


def decay(config: Config, methods: Sequence[str] = SCALINGS, length: int | str = "2x") -> "Figure":
    """How logits fall with distance: RoFormer's bound, and the mean cosine."""
    return decays.draw_decay(_record("decay", config, methods, [length]))


def sinusoidal(width: int = 128, length: int = 100) -> "Figure":
    """The table of sinusoidal absolute positions."""
    return heatmaps.draw_sinusoidal(sinusoidal_table(width, length))


def _record(
    name: str, config: Config, methods: Sequence[str], lengths: Sequence[int | str]
) -> "dict[str, object]":
    """As ``ropewalk.methods.pictures.picture``; RopewalkError as that."""
    known = parsed_config(config)
    named = Path(config).name if isinstance(config, str | Path) else known.get("model_type")
    title = str(named or "config")
    specs = [methods] if isinstance(methods, str) else methods
    tokens = [tokens_of(each, known) or 0 for each in lengths]
    return picture(name, Subject(name=title, section=shape_of(known).rope()), specs, tokens)
