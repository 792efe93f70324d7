"""How far each method carries a checkpoint, by what has been published.

A row says the largest multiple of the trained length that was reported to work, without training
and with the training that the source did. Most were reported for 7B to 70B models; smaller ones
reach less. Order: what to try first.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ropewalk.planning.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """One method.

    spec           the method for a target; None where something else has to be found first
    served         the same as engines with static tables can have it
    untuned        largest N / L0 without training, 1 where training is needed at once
    tuned          largest N / L0 after ``training``; None where nothing was reported
    training       what the source trained
    short_context  what it costs inside the trained length
    replaces       whether it takes the place of a scaling that the checkpoint was trained with
    """

    method: str
    spec: Callable[[Target], str | None]
    served: Callable[[Target], str | None] | None = None
    untuned: float
    tuned: float | None
    training: str = "none"
    short_context: str
    replaces: bool = True
    reason: str
    source: str


def _with_factor(method: str, times: float = 1.0) -> Callable[[Target], str]:
    return lambda target: f"{method}:factor={_short(target.factor * times)}"


def _at_length(method: str) -> Callable[[Target], str]:
    return lambda target: f"{method}:policy=fixed,length={target.length}"


def _over_native(target: Target, arguments: str) -> str:
    """A position map beside the scaling that the checkpoint was trained with."""
    return f"native+{arguments}" if target.is_scaled else arguments


def _dual_chunk(target: Target) -> str:
    window = target.reach - 3 * target.reach // 4
    size = target.reach - window
    return _over_native(target, f"dual_chunk:chunk_size={size},local_window={window}")


def _rerope(target: Target) -> str:
    return _over_native(target, f"rerope:window={max(target.reach // 2, 1)}")


def _self_extend(target: Target) -> str:
    """A window of a quarter of the reach, and groups that fit the rest into three quarters."""
    window = max(target.reach // 4, 1)
    group = max(1, math.ceil((target.length - window) / (target.reach - window)))
    return _over_native(target, f"self_extend:group_size={group},window={window}")


def _leaky_rerope(target: Target) -> str:
    window = max(target.reach // 4, 1)
    slope = max(1.0, (target.length - 1 - window) / max(target.reach - 1 - window, 1))
    return _over_native(target, f"leaky_rerope:slope={_short(slope)},window={window}")


def _abf(target: Target) -> str:
    """The smallest base for a context of N tokens, and never a smaller one than before."""
    base = max(target.section.rope_theta, 0.0424 * float(target.length) ** 1.628)
    return f"abf:rope_theta={_short(base)}"


def _short(value: float) -> str:
    """Rounded up at the seventh digit, so that a factor still reaches its length."""
    if value == int(value):
        return str(int(value))
    digits = 6 - math.floor(math.log10(value))
    scaled = math.ceil(round(value * 10.0**digits, 3)) / 10.0**digits
    return repr(scaled)


GUIDANCE: tuple[Guidance, ...] = (
    Guidance(
        method="dual_chunk",
        spec=_dual_chunk,
        untuned=8,
        tuned=None,
        short_context="small: distances beyond a chunk change inside the trained length too",
        replaces=False,
        reason="Llama 2 7B at 8 times its length: perplexity 7.89 against 7.87, 15.87 at 16 times",
        source="An et al. 2024, arXiv:2402.17463, table 1 (PG19)",
    ),
    Guidance(
        method="self_extend",
        spec=_self_extend,
        untuned=8,
        tuned=None,
        short_context="small: far distances are grouped inside the trained length too",
        replaces=False,
        reason="works while window + (N - window) / group stays below two thirds of L0",
        source="Jin et al. 2024, arXiv:2401.01325, and the rule of its released code",
    ),
    Guidance(
        method="rerope",
        spec=_rerope,
        untuned=8,
        tuned=None,
        short_context="small: distances beyond the window are all shown as the window",
        replaces=False,
        reason="trained at 512 and run at 4,096; Llama 2 13B from 4k to 16k with falling loss",
        source="Su 2023, kexue.fm/archives/9708; bojone/rerope",
    ),
    Guidance(
        method="leaky_rerope",
        spec=_leaky_rerope,
        untuned=8,
        tuned=None,
        short_context="small, as for rerope",
        replaces=False,
        reason="slightly better than rerope where the slope exceeds the extension",
        source="Su 2023, kexue.fm/archives/9708",
    ),
    Guidance(
        method="dynamic_yarn",
        spec=lambda target: "dynamic_yarn",
        served=_at_length("dynamic_yarn"),
        untuned=4,
        tuned=None,
        short_context="none: unscaled up to the trained length",
        reason="without fine-tuning slightly better than dynamic PI on one GovReport document; "
        "engines have it at one length alone, as YaRN",
        source="Peng et al. 2023, arXiv:2309.00071, section 3.3 and figure 5",
    ),
    Guidance(
        method="yarn",
        spec=_with_factor("yarn"),
        untuned=4,
        tuned=32,
        training="400 steps at factor 16, 200 more at factor 32",
        short_context="every length pays: Qwen's cards warn of static YaRN on short texts",
        reason="Llama 2 7B to 128k; un-tuned 3.25 at 4 times on Proof-pile, but 32.6 at twice the "
        "length on PG19",
        source="Peng et al. 2023, arXiv:2309.00071, table 2; arXiv:2402.13753 (un-tuned)",
    ),
    Guidance(
        method="dynamic_ntk",
        spec=lambda target: "dynamic_ntk",
        served=_at_length("dynamic_ntk"),
        untuned=4,
        tuned=None,
        short_context="none: unscaled up to the trained length",
        reason="Llama 1 7B from 2k to 8k: perplexity 4.3 to 4.9 with a consistent key cache; "
        "engines have it at one length alone, as a larger base",
        source="NormXU 2023, Consistent-DynamicNTKRoPE (GovReport)",
    ),
    Guidance(
        method="ntk_by_parts",
        spec=_with_factor("ntk_by_parts"),
        untuned=2,
        tuned=None,
        short_context="every length pays",
        reason="YaRN without its sharpening, which the paper finds better at every length",
        source="Peng et al. 2023, arXiv:2309.00071, sections 3.2 and 3.4",
    ),
    Guidance(
        method="ntk_aware",
        spec=_with_factor("ntk_aware", times=2.0),
        untuned=2,
        tuned=None,
        short_context="every length pays, less than under linear",
        reason="breaks before factor * L0, so that the factor is twice the extension",
        source="bloc97 2023; Peng et al. 2023, arXiv:2309.00071, section 3.1",
    ),
    Guidance(
        method="llama3",
        spec=_with_factor("llama3"),
        untuned=1,
        tuned=16,
        training="continued pre-training in six stages, 800 billion tokens",
        short_context="every length pays without that training",
        reason="Llama 3.1 from 8k to 128k",
        source="Grattafiori et al. 2024, arXiv:2407.21783, section 3.4.2",
    ),
    Guidance(
        method="longrope",
        spec=lambda target: None,
        untuned=8,
        tuned=512,
        training="a search of factors, then 400 and 600 steps",
        short_context="small with the second, short list",
        reason="needs factor lists that were searched for this model; ropewalk export takes them",
        source="Ding et al. 2024, arXiv:2402.13753",
    ),
    Guidance(
        method="abf",
        spec=_abf,
        untuned=1,
        tuned=8,
        training="continued pre-training, 400 billion tokens",
        short_context="every length pays without that training",
        reason="Llama 2 from 4k to 32k; the base is the smallest that was found for this length",
        source="Xiong et al. 2023, arXiv:2309.16039; Men et al. 2024, arXiv:2405.14591, figure 1",
    ),
    Guidance(
        method="linear",
        spec=_with_factor("linear"),
        untuned=1,
        tuned=16,
        training="1,000 steps at the new length",
        short_context="every length pays: neighbours are squeezed together",
        reason="LLaMA from 2k to 32k after fine-tuning; un-tuned PG19 10.65 at twice the length, "
        "20.49 at 4 times",
        source="Chen et al. 2023, arXiv:2306.15595; arXiv:2402.13753 (un-tuned)",
    ),
    Guidance(
        method="none",
        spec=lambda target: "none",
        untuned=1,
        tuned=None,
        short_context="none",
        reason="direct extrapolation: loss leaves within 1.1 to 1.4 times the trained length",
        source="Press et al. 2021, arXiv:2108.12409, table 2 (rotary)",
    ),
)
