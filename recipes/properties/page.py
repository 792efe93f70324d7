"""Pictures of the survey's properties, for docs/properties.md: each drawn from our own encodings.

python -m recipes.pages properties
"""

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recipes.pages import IMAGES, ROOT, Blocks
from ropewalk.core.geometry import RopeGeometry
from ropewalk.inputs.sinusoidal import Sinusoidal
from ropewalk.methods.build import encoding
from ropewalk.reporting.figures import (
    NOTE,
    add_legend,
    line_style,
    open_frame,
    set_title,
    write_figure,
)
from ropewalk.scores.alibi import GeometricSlopes, PressSlopes, Slopes

PAGE = ROOT / "docs" / "properties.md"
GEOMETRY = RopeGeometry(head_dim=128, rope_theta=1e4, trained_length=4096)
FACTOR = 4
WIDTH = 128
FARTHEST = 2048
LONGEST = 32
"""Times the trained length."""


def blocks() -> Blocks:
    IMAGES.mkdir(exist_ok=True)
    return {
        PAGE: {
            "properties-sinusoidal": _sinusoidal(),
            "properties-middle": _middle_pairs(),
            "properties-temperature": _temperature(),
            "properties-slopes": _slopes(),
        }
    }


def _sinusoidal() -> str:
    table = Sinusoidal().added({}, torch.arange(FARTHEST), WIDTH)
    products = (table @ table[0]) / (WIDTH / 2)
    figure, axis = _axes("distance in tokens", "product over that at distance 0")
    axis.plot(products.numpy(), color="black", linewidth=1)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    set_title(axis, f"Product of two rows of the sinusoidal table, {WIDTH} channels")
    write_figure(figure, IMAGES / "properties-sinusoidal.svg")
    octaves = [2**n for n in range(int(math.log2(FARTHEST)))]
    tops = [float(products[first : 2 * first + 1].max()) for first in octaves]
    risen = int((products[1:] > products[:-1]).sum())
    return (
        "![Product of two sinusoidal positions against their distance]"
        "(images/properties-sinusoidal.svg)\n\n"
        "The product of two rows depends on their distance alone and decays in waves: its largest "
        f"value at 1 or 2 tokens is {tops[0]:.2f} of that at distance 0, from "
        f"{octaves[-1]:,} to {FARTHEST:,} tokens {tops[-1]:.2f}, and it rises at {risen:,} of "
        f"{FARTHEST - 1:,} steps.\n"
    )


def _middle_pairs() -> str:
    trained = GEOMETRY.trained_length
    length = FACTOR * trained
    plain = encoding("none", GEOMETRY).rotation.inv_freq(trained)
    figure, axis = _axes("pair of channels", "angle over the trained range")
    shown = {}
    names = ("none", "linear", "ntk_aware", "ntk_by_parts")
    for number, name in enumerate(names):
        spec = name if name == "none" else f"{name}:factor={FACTOR}"
        share = encoding(spec, GEOMETRY).rotation.inv_freq(length) * length / (plain * trained)
        shown[name] = share
        style = {**line_style(number), "markevery": 8, "markersize": 4}
        axis.plot(share.numpy(), label=spec, **style)
    first = int((plain * trained >= 2 * math.pi).sum())
    axis.axvspan(first, len(plain) - 1, color="0.92", zorder=0)
    axis.text(first + 0.5, 0.15, "never a full\nturn in training", **NOTE)
    axis.set_ylim(0, FACTOR + 0.4)
    set_title(axis, f"At {FACTOR} times the trained length of {trained:,} (base 10,000)")
    add_legend(axis)
    write_figure(figure, IMAGES / "properties-middle.svg")
    beyond = {name: int((share[first:] > 1 + 1e-9).sum()) for name, share in shown.items()}
    slow = len(plain) - first
    return (
        "![Largest angle of each pair over its trained range, four methods]"
        "(images/properties-middle.svg)\n\n"
        f"{slow} of {len(plain)} pairs never made a full turn in training and know only the angles "
        f"up to 1. NTK-aware scaling keeps the first pair and divides the last by the factor, as "
        f"position interpolation does, but {beyond['ntk_aware']} of the pairs between leave their "
        f"range; under NTK-by-parts {beyond['ntk_by_parts'] or 'none'} does.\n"
    )


def _temperature() -> str:
    trained, pairs = GEOMETRY.trained_length, GEOMETRY.rotary_dim // 2
    log_n = encoding("log_n", GEOMETRY)
    lengths = torch.logspace(0, math.log2(LONGEST), 200, base=2) * trained
    scale = log_n.query_scale(lengths.long() - 1)
    figure, axis = _axes("length over the trained length", "what multiplies a logit")
    axis.plot((lengths / trained).numpy(), scale.numpy(), color="black", linewidth=2, label="log_n")
    targets, sizes = [2**n for n in range(1, int(math.log2(LONGEST)) + 1)], []
    for target in targets:
        lists = {"short_factor": [1.0] * pairs, "long_factor": [float(target)] * pairs}
        longrope = encoding("longrope", GEOMETRY, factor=float(target), **lists)
        sizes.append(longrope.rotation.attention_factor(target * trained) ** 2)
    label = "longrope, attention factor squared"
    axis.plot(targets, sizes, "s", color="#D55E00", markersize=7, label=label)
    axis.set_xscale("log", base=2)
    axis.set_xticks([1, *targets], [str(n) for n in (1, *targets)])
    set_title(axis, f"Trained length {trained:,}")
    add_legend(axis)
    write_figure(figure, IMAGES / "properties-temperature.svg")
    rows = torch.tensor([target * trained - 1 for target in targets])
    apart = max(abs(a - b) for a, b in zip(sizes, log_n.query_scale(rows).tolist(), strict=True))
    return (
        "![Scale of log-n against length, and LongRoPE's attention factor squared]"
        "(images/properties-temperature.svg)\n\n"
        "LongRoPE multiplies queries and keys by $\\sqrt{1 + \\ln s / \\ln L_0}$. Squared, as it "
        "stands in a logit, that is the scale of log-n in the last row of the target length, "
        f"{'to the last bits' if apart < 1e-12 else f'to {apart:.0e}'}: one constant where log-n "
        "has a value for each row.\n"
    )


def _slopes() -> str:
    figure, axis = _axes("head", "slope")
    rules: dict[str, tuple[Slopes, int]] = {
        "8 heads, either rule": (GeometricSlopes(), 8),
        "12 heads, closed form": (GeometricSlopes(), 12),
        "12 heads, released code": (PressSlopes(), 12),
    }
    for number, (name, (rule, heads)) in enumerate(rules.items()):
        style = {**line_style(number), "markersize": 5}
        axis.plot(range(1, heads + 1), rule.of(heads).numpy(), label=name, **style)
    axis.set_yscale("log", base=2)
    axis.set_xticks(range(1, 13))
    set_title(axis, "Slopes of ALiBi")
    add_legend(axis)
    write_figure(figure, IMAGES / "properties-slopes.svg")
    return (
        "![Slope of each head under two rules](images/properties-slopes.svg)\n\n"
        "Slopes are geometric and end at $2^{-8}$. Where the number of heads is no power of two, "
        "released code takes those of the power below and, for the heads that are left, every "
        "other slope of the power above: the line jumps back to steep ones. Models were trained "
        "with these, so they are `alibi`'s default; `alibi:slopes=geometric` is the closed form.\n"
    )


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axis = figure.subplots()
    open_frame(axis)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    return figure, axis
