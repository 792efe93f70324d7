"""A method as keys and tensors of a new GGUF file.

    block        keys                                                  tensors
    default      rope.freq_base, rope.scaling.type none
    linear       the same, type linear and rope.scaling.factor
    yarn         type yarn, factor, original_context_length; cut-offs where they are read
    any          type none                                             rope_freqs.weight
    any          type longrope, in Phi-3 and MiniCPM 3                 rope_factors_short, _long

The attention factor is ``rope.scaling.attn_factor``, which multiplies what the type makes of it.
Keys are preferred, because other readers know them; tensors say any settled schedule, where the
architecture's graph reads them (``graphs``). The edited header is read as llama.cpp reads it
before anything is written.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ropewalk.configs import gguf_graphs as graphs
from ropewalk.configs.gguf import FACTORS, GGUFHeader
from ropewalk.configs.shape import ModelShape
from ropewalk.core.errors import RopewalkError
from ropewalk.engines.answer import LLAMA_CPP
from ropewalk.engines.export.block import RopeBlock
from ropewalk.engines.export.check import NotTheSame, differences
from ropewalk.engines.export.document import about, requested
from ropewalk.engines.export.lists import divisors
from ropewalk.engines.export.llama_cpp import LlamaCppDialect
from ropewalk.engines.export.request import ExportRequest
from ropewalk.engines.llama_cpp.file import SCALING, llama_cpp_file

Value = str | int | float
_REPLACED = frozenset(
    {"rope.scale_linear"}
    | {SCALING + name for name in ("type", "factor", "original_context_length", "attn_factor")}
    | {SCALING + name for name in ("yarn_log_multiplier", "yarn_ext_factor", "yarn_attn_factor")}
    | {SCALING + name for name in ("yarn_beta_fast", "yarn_beta_slow", "alpha")}
)
"""Keys of a scaling: none of the old ones stays beside the new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFEdit:
    """What becomes of a file.

    keys      to set, without the architecture's name before them
    tensors   that divide frequencies, by name without ``.weight``; all others of that kind go
    replaced  old keys that go
    """

    keys: Mapping[str, Value]
    tensors: Mapping[str, tuple[float, ...]]
    replaced: Collection[str] = _REPLACED

    def drops(self, key: str) -> bool:
        """Whether a key of the architecture goes, or is set anew."""
        return key in self.replaced or key in self.keys

    def replaces(self, name: str, architecture: str) -> bool:
        """Whether the pair or tensor of that whole name goes, or is set anew."""
        if name.removesuffix(".weight") in FACTORS:
            return True
        return self.drops(name.removeprefix(f"{architecture}.")) and name.startswith(architecture)

    def applied(self, header: GGUFHeader) -> GGUFHeader:
        """The header of the file that is written."""
        kept = {key: value for key, value in header.fields.items() if not self.drops(key)}
        return replace(header, fields={**kept, **self.keys}, factors=dict(self.tensors))


def gguf_edit(
    header: GGUFHeader, shape: ModelShape, spec: str, length: int | None = None
) -> tuple[GGUFEdit, dict[str, Any]]:
    """What to write so that llama.cpp computes ``spec``, and the document of ``export``.

    shape  the same header in the keys of a config

    Raises RopewalkError where no file of that architecture says it, with what comes nearest.
    """
    asked, blocks = requested(shape, spec, LLAMA_CPP, length)
    with about(spec, LLAMA_CPP):
        if asked.encoding.settled_length is None:
            raise RopewalkError(
                "a file's frequencies do not follow the sequence so far; nearest: "
                f"policy=fixed,length={asked.length}"
            )
        edit, found = _first_right(header, asked, blocks)
    answer = llama_cpp_file(edit.applied(header), asked.length)
    return edit, {
        "engine": LLAMA_CPP,
        "version": answer.version,
        "method": spec,
        "length": asked.length,
        "keys": {f"{header.architecture}.{key}": value for key, value in edit.keys.items()},
        "tensors": [f"{name}.weight" for name in edit.tensors],
        "checked": found,
    }


def require_computed(
    header: GGUFHeader, shape: ModelShape, spec: str, length: int | None = None
) -> dict[str, float]:
    """How far a file that was read back is from ``spec``.

    shape  of the file that it was made of

    Raises RopewalkError where llama.cpp would compute something else.
    """
    asked, _ = requested(shape, spec, LLAMA_CPP, length)
    with about(spec, LLAMA_CPP):
        try:
            return compared(header, asked)
        except NotTheSame as difference:
            raise RopewalkError(f"the file was read back, and {difference}") from difference


def _first_right(
    header: GGUFHeader, asked: ExportRequest, blocks: tuple[RopeBlock, ...]
) -> tuple[GGUFEdit, dict[str, float]]:
    reasons: list[str] = []
    for edit in _edits(header, asked, blocks):
        try:
            return edit, compared(edit.applied(header), asked)
        except NotTheSame as difference:
            reasons.append(str(difference))
    first = reasons[0] if reasons else "no key says it"
    raise RopewalkError(
        f"{first}, and the graph of {header.architecture} reads no tensor of divisors; nearest: "
        "yarn with cut-offs 32 and 1, which the keys of a file say, or vLLM or SGLang"
    )


def compared(header: GGUFHeader, asked: ExportRequest) -> dict[str, float]:
    """How far what llama.cpp computes for a file is from what is asked; NotTheSame beyond it."""
    answer = llama_cpp_file(header, asked.length)
    found = differences(answer, asked, asked.length, LlamaCppDialect.tolerance)
    if answer.max_length is not None and answer.max_length < asked.length:
        raise NotTheSame(f"it admits {answer.max_length:,} tokens, asked were {asked.length:,}")
    return found


def _edits(
    header: GGUFHeader, asked: ExportRequest, blocks: tuple[RopeBlock, ...]
) -> Iterator[GGUFEdit]:
    """Keys, then tensors where the graph reads them."""
    for block in blocks:
        if block.rope_type in ("default", "linear", "yarn"):
            yield _completed(header, asked, _keys(header, replace(asked, block=block)), {})
    found = divisors(asked.encoding)
    scaling = "none"
    names: tuple[str, ...] = ("rope_freqs",)
    if graphs.reads_lists(header.architecture, "none"):
        scaling, names = "longrope", ("rope_factors_short", "rope_factors_long")
    elif not graphs.reads_freqs(header.architecture, scaling):
        return
    base = asked.encoding.geometry.rope_theta
    keys: dict[str, Value] = {f"{SCALING}type": scaling, "rope.freq_base": base}
    yield _completed(header, asked, keys, dict.fromkeys(names, found))


def _keys(header: GGUFHeader, asked: ExportRequest) -> dict[str, Value]:
    block = asked.block
    name = {"default": "none"}.get(block.rope_type, block.rope_type)
    keys: dict[str, Value] = {"rope.freq_base": block.rope_theta, f"{SCALING}type": name}
    if block.rope_type == "default":
        return keys
    keys[f"{SCALING}factor"] = block.factor
    if block.rope_type == "yarn" and header.architecture in graphs.READS_BETAS:
        for beta in ("beta_fast", "beta_slow"):
            keys[f"{SCALING}yarn_{beta}"] = float(block.parameters[beta])
    all_dim = asked.latent_keys.get("mscale_all_dim")
    if all_dim and header.architecture in graphs.A_TENTH:
        keys[f"{SCALING}yarn_log_multiplier"] = 0.1 * all_dim
    return keys


def _completed(
    header: GGUFHeader,
    asked: ExportRequest,
    keys: Mapping[str, Value],
    tensors: Mapping[str, tuple[float, ...]],
) -> GGUFEdit:
    """With L0, the length, and the attention factor over what the type makes of it."""
    stated = header.fields.get("context_length")
    longest = max(asked.length, stated) if isinstance(stated, int) else asked.length
    trained = asked.encoding.geometry.trained_length
    whole = {**keys, f"{SCALING}original_context_length": trained, "context_length": longest}
    edit = GGUFEdit(keys=whole, tensors=tensors)
    found = llama_cpp_file(edit.applied(header), asked.length).attention_factor
    wanted = asked.block.attention_factor
    if not found or abs(wanted / found - 1) < 1e-7 or asked.section.latent_attention:
        return edit
    return replace(edit, keys={**whole, f"{SCALING}attn_factor": wanted / found})
