"""What llama.cpp computes for a GGUF file, from its own header and tensors.

    s      rope.scaling.factor, else rope.scale_linear, else 1; no scaling under type none
    type   linear where none is stated: a factor alone divides every pair
    L      rope.scaling.original_context_length, else context_length
    A      rope.scaling.attn_factor, times YaRN's own magnitude under type yarn

rope_freqs, or the long list where a slot has more than L tokens and the short one where not,
divides every pair besides.

Source: llama.cpp 0c1e57098, src/llama-model.cpp (load_hparams, get_rope_factors),
    src/llama-context.cpp (rope scaling set-up), ggml/src/ggml-cpu/ops.cpp; ``graphs``.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.configs import gguf_graphs as graphs
from ropewalk.configs.gguf import GGUFHeader
from ropewalk.configs.numbers import LARGEST_HEAD_DIM, LARGEST_LENGTH, integer, optional
from ropewalk.core.errors import RopewalkError
from ropewalk.core.frequencies import Frequencies
from ropewalk.core.geometry import Pairing, RopeGeometry
from ropewalk.core.lengths import Fixed
from ropewalk.engines.answer import LLAMA_CPP, EngineAnswer, Rotation
from ropewalk.engines.llama_cpp.kernel import Context, KernelRamp
from ropewalk.engines.llama_cpp.release import CONTEXT_BLOCK, VERSION
from ropewalk.engines.reading import EngineRaises, length
from ropewalk.frequencies.linear import Linear
from ropewalk.frequencies.ntk_by_parts import NTKByParts
from ropewalk.frequencies.unscaled import Unscaled
from ropewalk.frequencies.yarn_magnitude import yarn_mscale

SCALING = "rope.scaling."
TYPES = ("none", "linear", "yarn", "longrope")
_DEFAULT_BASE = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided(Frequencies):
    """Frequencies over the divisors of a tensor, one a pair."""

    geometry: RopeGeometry
    inner: Frequencies
    divisors: tuple[float, ...]

    def inv_freq(self, context_length: int) -> Tensor:
        whole = torch.tensor(self.divisors, dtype=torch.float64)
        return self.inner.inv_freq(context_length) / whole

    def attention_factor(self, context_length: int) -> float:
        return self.inner.attention_factor(context_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A header as the loader reads it."""

    header: GGUFHeader

    def number(self, key: str) -> float | None:
        return optional(self.header.fields, key)

    @property
    def architecture(self) -> str:
        return self.header.architecture

    @property
    def stated_type(self) -> str | None:
        stated = self.header.fields.get(f"{SCALING}type")
        return None if stated is None else str(stated)

    @property
    def scaling(self) -> str:
        """The type in force; EngineRaises for one that the loader does not know."""
        name = "linear" if self.stated_type is None else self.stated_type
        if name not in TYPES:
            raise EngineRaises(f"GGML_ASSERT: rope_scaling_type_train of {name!r} is UNSPECIFIED")
        return name

    @property
    def factor(self) -> float:
        """s as stated, whatever the type; 1 where none, or 0, is."""
        stated = self.number(f"{SCALING}factor")
        stated = self.number("rope.scale_linear") if stated is None else stated
        return stated or 1.0

    @property
    def trained_context(self) -> int:
        """n_ctx_train."""
        return length(self.header.fields.get("context_length"), "context_length")

    @property
    def original(self) -> int:
        """n_ctx_orig_yarn."""
        stated = self.header.fields.get(f"{SCALING}original_context_length")
        return (
            length(stated, f"{SCALING}original_context_length") if stated else self.trained_context
        )

    @property
    def width(self) -> int:
        """n_embd_head_k. Raises RopewalkError where no key says it."""
        fields = self.header.fields
        if (stated := fields.get("attention.key_length")) is not None:
            return integer(stated, "attention.key_length", smallest=1, largest=LARGEST_HEAD_DIM)
        heads = fields.get("attention.head_count")
        count = max(heads, default=0) if isinstance(heads, list) else heads
        if not count or fields.get("embedding_length") is None:
            raise RopewalkError(f"{self.architecture}: no width of a head in the header")
        width = integer(fields["embedding_length"], "embedding_length") // integer(count, "heads")
        return integer(width, "attention.key_length", smallest=1, largest=LARGEST_HEAD_DIM)

    @property
    def rotating(self) -> int:
        """n_rot; EngineRaises where the loader wants the whole head."""
        stated = self.header.fields.get("rope.dimension_count")
        if stated is None:
            return self.width
        found = integer(stated, "rope.dimension_count", smallest=1, largest=LARGEST_HEAD_DIM)
        if self.architecture in graphs.WHOLE_HEADS and found != self.width:
            raise EngineRaises(f"runtime_error: invalid n_rot: {found}, expected {self.width}")
        return found

    def geometry(self) -> RopeGeometry:
        """Of the channels that turn."""
        base = self.number("rope.freq_base")
        return RopeGeometry(
            head_dim=self.rotating,
            rope_theta=_DEFAULT_BASE if base is None else base,
            trained_length=self.original,
            pairing=self.pairing,
        )

    @property
    def pairing(self) -> Pairing:
        return "interleaved" if self.architecture in graphs.NEIGHBOURING_PAIRS else "half"

    def divisors(self, context: int) -> tuple[float, ...] | None:
        """Of the tensor that is in force in a slot; None for none.

        EngineRaises for a tensor that the architecture does not load, or of another length.
        """
        found = dict(self.header.factors)
        freqs = found.pop("rope_freqs", None) if self._reads_freqs else None
        lists = {n: found.pop(f"rope_factors_{n}", None) for n in ("short", "long")}
        if not graphs.reads_lists(self.architecture, self.scaling):
            found |= {name: values for name, values in lists.items() if values is not None}
            lists = {}
        if found:
            raise EngineRaises(
                "runtime_error: done_getting_tensors: wrong number of tensors "
                f"({self.architecture} loads no {next(iter(found))})"
            )
        chosen = freqs or lists.get("long" if context > self.original else "short")
        if chosen is not None and len(chosen) != self.rotating // 2:
            raise EngineRaises(
                f"runtime_error: rope factors have wrong shape; expected {self.rotating // 2}, "
                f"got {len(chosen)}"
            )
        return chosen

    @property
    def _reads_freqs(self) -> bool:
        return graphs.reads_freqs(self.architecture, self.scaling)


def llama_cpp_file(header: GGUFHeader, served_length: int | None = None) -> EngineAnswer:
    """What llama.cpp computes for a file, at ``-c served_length`` (default n_ctx_train).

    Raises RopewalkError for a header without a context length or a width of heads, and for
    numbers that make no rotation.
    """
    file = File(header=header)
    answer = EngineAnswer(
        engine=LLAMA_CPP,
        version=VERSION,
        table_dtype="float32",
        choice="no table: angles computed in the kernel",
        pairing=file.pairing,
        max_length=file.trained_context,
    )
    asked = file.trained_context if served_length is None else length(served_length, "length")
    context = min(-(-asked // CONTEXT_BLOCK) * CONTEXT_BLOCK, LARGEST_LENGTH)
    try:
        frequencies = _frequencies(file, context)
    except EngineRaises as raised:
        return replace(answer, error=str(raised), max_length=None)
    magnitude = frequencies.attention_factor(context)
    attn_factor = file.number(f"{SCALING}attn_factor")
    settings = Context(attn_factor=1.0 if attn_factor is None else attn_factor)
    lists = any(name != "rope_freqs" for name in header.factors)
    rotation = Rotation(
        frequencies=settings.in_kernel(frequencies),
        keys_read=tuple(key for key in header.fields if key in _READ),
        choice=(
            f"the long list for a slot of more than {file.original} tokens, decided when the "
            "context is made"
            if lists
            else None
        ),
    )
    return replace(
        answer.rotating(rotation, Fixed(length=context), context),
        softmax_scale_multiplier=_softmax(file, magnitude * settings.attn_factor),
    )


_READ = frozenset(
    {"rope.freq_base", "rope.dimension_count", "rope.scale_linear"}
    | {SCALING + key for key in ("type", "factor", "original_context_length", "attn_factor")}
)


def _frequencies(file: File, context: int) -> Frequencies:
    geometry = file.geometry()
    divisors = file.divisors(context)
    frequencies = _scaled(file, geometry)
    if divisors is None:
        return frequencies
    return Divided(geometry=geometry, inner=frequencies, divisors=divisors)


def _scaled(file: File, geometry: RopeGeometry) -> Frequencies:
    scaling, factor = file.scaling, file.factor
    mixed = file.number(f"{SCALING}yarn_ext_factor") if _is_grok(file) else None
    if mixed not in (None, 0.0, 1.0):
        raise RopewalkError(f"yarn_ext_factor {mixed}: expected 0 or 1; ask llama.cpp itself")
    ramped = scaling == "yarn" if mixed is None else mixed == 1
    if scaling == "none" or (factor == 1 and not ramped):
        return Unscaled(geometry=geometry)
    if not ramped:
        return Linear(geometry=geometry, factor=factor)
    return NTKByParts(
        geometry=geometry,
        factor=factor,
        ramp=KernelRamp(beta_fast=_beta(file, "fast", 32.0), beta_slow=_beta(file, "slow", 1.0)),
        magnitude=_yarn_magnitude(file, factor),
    )


def _is_grok(file: File) -> bool:
    return file.architecture in graphs.READS_EXT_FACTOR


def _beta(file: File, name: str, default: float) -> float:
    reads = file.architecture in graphs.READS_BETAS
    stated = file.number(f"{SCALING}yarn_beta_{name}") if reads else None
    return default if stated is None else stated


def log_multiplier(file: File) -> float:
    """mscale_all_dim, 0 where the architecture reads none."""
    if file.architecture not in graphs.READS_LOG_MULTIPLIER:
        return 0.0
    stated = file.number(f"{SCALING}yarn_log_multiplier") or 0.0
    return stated / 0.1 if file.architecture in graphs.A_TENTH else stated


def _yarn_magnitude(file: File, factor: float) -> float:
    """m(s, 1), over m(s, mscale_all_dim) where one is read; DeepSeek-V2's is 1 then."""
    all_dim = log_multiplier(file)
    if all_dim == 0:
        return yarn_mscale(factor)
    upper = all_dim if file.architecture == "deepseek2" else 1.0
    return yarn_mscale(factor, upper) / yarn_mscale(factor, all_dim)


def _softmax(file: File, attention_factor: float) -> float:
    """Latent attention: (A * m(s, mscale_all_dim))^2."""
    if file.architecture not in graphs.A_TENTH or file.scaling != "yarn":
        return 1.0
    return (attention_factor * yarn_mscale(file.factor, log_multiplier(file))) ** 2
