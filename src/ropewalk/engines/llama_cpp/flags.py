"""What llama.cpp's flags do to a converted checkpoint.

--rope-scaling T, --rope-scale s   the type (none, linear, yarn) and s, over the file's own
--rope-freq-base b                 the base
--yarn-orig-ctx L                  L0 of YaRN; n_ctx_train becomes L * s
--yarn-beta-fast, --yarn-beta-slow cut-offs, over 32 and 1 or the file's own
--yarn-attn-factor                 nothing: the context computes YaRN's own magnitude over it
--override-kv A.rope.scaling.attn_factor=float:x           multiplies the attention factor
--override-kv A.rope.scaling.yarn_log_multiplier=float:x   x = 0.1 mscale_all_dim
--override-kv A.context_length=int:N                       n_ctx_train

-np, --parallel k                  slots: each has 1 / k of -c, unless --kv-unified shares it

Divisors that conversion bakes into a tensor (Llama 3, LongRoPE, proportional) stay, whatever
the flags say, and stack with them.

Source: llama.cpp 0c1e57098, common/arg.cpp, src/llama-context.cpp (rope scaling set-up).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ropewalk.configs.keys import ORIGINAL
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import EngineAnswer
from ropewalk.engines.llama_cpp.converter import BAKES_LLAMA3, WRITES_LISTS, as_converted, restated
from ropewalk.engines.llama_cpp.kernel import Context
from ropewalk.engines.llama_cpp.release import as_merged, llama_cpp
from ropewalk.engines.reading import EngineRaises, Reading
from ropewalk.engines.words import value_of, values_of

_BAKING: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "llama3": BAKES_LLAMA3,
        "longrope": WRITES_LISTS,
        "proportional": frozenset({"gemma4_text", "gemma4_unified_text"}),
    }
)
"""Who writes divisors of a type into a tensor."""
DEFAULT_BETAS = (32.0, 1.0)
_TYPES: Mapping[str, str] = MappingProxyType(
    {"none": "default", "linear": "linear", "yarn": "yarn"}
)
SCALING_FLAGS = ("--rope-scaling", "--rope-scale", "--rope-freq-base")
"""Flags that change frequencies; tensors of divisors stay, and they stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedAnswer:
    """``llama_cpp`` under flags; ``trained_context`` is n_ctx_train, which caps a slot."""

    answer: EngineAnswer
    trained_context: int


def llama_cpp_with_flags(reading: Reading, flags: Sequence[str]) -> FlaggedAnswer:
    """What llama.cpp computes for a checkpoint converted from a config under ``flags``.

    flags  words of the command line; ``-c`` wins over the reading's ``served_length``

    Raises RopewalkError for flags that stack with baked divisors, or with values that are no
    numbers.
    """
    if is_baked(reading) and any(flag in flags for flag in SCALING_FLAGS):
        raise RopewalkError(
            f"rope_type={reading.section.rope_type}: conversion bakes it into the file, and flags "
            "stack with it; nearest: convert again from a config.json with the wanted rope dict"
        )
    try:
        reading = as_converted(as_merged(reading))
    except EngineRaises:
        answer = llama_cpp(reading)
        return FlaggedAnswer(answer=answer, trained_context=reading.longest)
    rope = _rope(reading, flags)
    asked = _number(flags, "-c")
    served = reading.served_length if asked is None else int(asked) // _slots(flags)
    attn_factor = _override(flags, "rope.scaling.attn_factor")
    settings = Context(
        beta_fast=_number(flags, "--yarn-beta-fast"),
        beta_slow=_number(flags, "--yarn-beta-slow"),
        attn_factor=1.0 if attn_factor is None else attn_factor,
    )
    overridden = replace(restated(reading, rope, {}), served_length=served)
    return FlaggedAnswer(
        answer=llama_cpp(overridden, settings, overridden=True),
        trained_context=_trained_context(reading, rope, flags),
    )


def is_baked(reading: Reading) -> bool:
    """Whether conversion writes divisors into a tensor."""
    bakes = _BAKING.get(reading.section.rope_type)
    return bakes is not None and reading.model_type in bakes


def _slots(flags: Sequence[str]) -> int:
    """Among how many requests the context is divided; RopewalkError for none."""
    stated = _number(flags, "-np") or _number(flags, "--parallel")
    if stated is None or "--kv-unified" in flags or "-kvu" in flags:
        return 1
    if stated < 1:
        raise RopewalkError(f"-np {stated:g}: expected at least 1 slot")
    return int(stated)


def _override(flags: Sequence[str], key: str) -> float | None:
    """The value of ``--override-kv ARCH.key=type:value``, None where it is not given."""
    found = None
    for word in values_of(flags, "--override-kv"):
        name, _, value = word.partition("=")
        if name.partition(".")[2] == key:
            found = _float(value.partition(":")[2], f"--override-kv {key}")
    return found


def _rope(reading: Reading, flags: Sequence[str]) -> dict[str, Any]:
    """The rope dict from whose conversion the same frequencies would come, betas excepted."""
    kind = value_of(flags, "--rope-scaling")
    base = _number(flags, "--rope-freq-base")
    theta = reading.section.rope_theta if base is None else base
    rope = {**reading.rope, "rope_theta": theta}
    if kind is not None:
        if kind not in _TYPES:
            raise RopewalkError(f"--rope-scaling {kind}: expected one of {', '.join(_TYPES)}")
        rope = {k: v for k, v in rope.items() if k not in ("type", "factor")}
        rope["rope_type"] = _TYPES[kind]
        scale = _number(flags, "--rope-scale")
        stated = reading.rope.get("factor") if scale is None else scale
        rope |= {} if kind == "none" else {"factor": 1.0 if stated is None else stated}
    original = _number(flags, "--yarn-orig-ctx")
    log_multiplier = _override(flags, "rope.scaling.yarn_log_multiplier")
    numbers = {
        ORIGINAL: None if original is None else int(original),
        "mscale_all_dim": None if log_multiplier is None else log_multiplier / 0.1,
    }
    return {**rope, **{key: value for key, value in numbers.items() if value is not None}}


def _trained_context(reading: Reading, rope: Mapping[str, Any], flags: Sequence[str]) -> int:
    stated = _override(flags, "context_length")
    if stated is not None:
        return int(stated)
    if value_of(flags, "--rope-scaling") == "yarn":
        return int((rope.get(ORIGINAL) or reading.original) * rope["factor"])
    return reading.longest


def _number(flags: Sequence[str], flag: str) -> float | None:
    word = value_of(flags, flag)
    return None if word is None else _float(word, flag)


def _float(word: str, name: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise RopewalkError(f"{name} {word}: expected a number") from None
