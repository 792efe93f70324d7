"""What a sweep and a long sequence would take, from what was measured: no more than arithmetic.

    F(n) = 2 P n + 2 n^2 H d l            operations of a causal pass over n tokens
    T(n) = F(n) / (share * peak)
    traffic of a rank = n (R - 1) / R^2 * l * w * (2 H + 2 G') d      bytes, heads for tokens
    of a ring         = n (R - 1) / R   * l * w *  2 G       d

P  parameters of the layers;  H, G  query and key heads;  G'  key heads that the ranks hold together
(ranks that outnumber them have copies);  d  head_dim;  l  layers;  R  ranks;  w  bytes of a number

share  of a device's peak that the SmolLM2 cells of docs/results/smollm2.json reached, at their
       longest: float32, plain RoPE, through transformers
"""

from dataclasses import dataclass

from recipes.pages import result
from ropewalk.ranks.cutting import key_shares

FLOAT32_PEAK, BFLOAT16_PEAK = 67e12, 989e12
"""Operations a second of an H100 SXM, dense. Source: NVIDIA, H100 Tensor Core GPU datasheet."""
CARD_BYTES = 80e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder with a gated feed-forward layer. ``width``: bytes of a number."""

    layers: int
    hidden: int
    heads: int
    key_heads: int
    head_dim: int
    middle: int
    vocabulary: int
    width: int

    @property
    def parameters(self) -> int:
        """Of the layers."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.key_heads)
        return self.layers * (attention + 3 * self.hidden * self.middle)

    @property
    def weight_bytes(self) -> int:
        return self.width * (self.parameters + 2 * self.vocabulary * self.hidden)

    def operations(self, tokens: int) -> float:
        """F(n)."""
        square = 2.0 * tokens**2 * self.heads * self.head_dim * self.layers
        return 2.0 * self.parameters * tokens + square

    @property
    def cache_bytes(self) -> int:
        """Of one token."""
        return 2 * self.key_heads * self.head_dim * self.layers * self.width

    def traffic(self, tokens: int, ranks: int) -> float:
        """Bytes that a rank sends in a pass, heads for tokens."""
        held = sum(map(len, key_shares(self.key_heads, ranks)))
        numbers = 2 * self.heads * self.head_dim + 2 * held * self.head_dim
        return tokens * (ranks - 1) / ranks**2 * self.layers * self.width * numbers

    def ring(self, tokens: int, ranks: int) -> float:
        """Bytes that a rank would send if keys and values went round."""
        numbers = 2 * self.key_heads * self.head_dim
        return tokens * (ranks - 1) / ranks * self.layers * self.width * numbers


SMOLLM2 = Shape(
    layers=30, hidden=576, heads=9, key_heads=3, head_dim=64, middle=1536, vocabulary=49152, width=4
)
SEVEN = Shape(
    layers=32, hidden=4096, heads=32, key_heads=8, head_dim=128, middle=14336, vocabulary=32000,
    width=2,
)  # fmt: skip
"""Mistral 7B's shape, in bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of plain RoPE at the longest length.

    share  of the device's float32 peak
    bytes_per_middle  peak memory of a token, in numbers of the feed-forward layer's width
    """

    device: str
    length: int
    seconds: float
    sequences: int
    share: float
    bytes_per_middle: float


def measured() -> Measured:
    document = result("smollm2")
    cells = [c for c in document["cells"] if (c["method"], c["mode"]) == ("none", "full")]
    cell = max((c for c in cells if c["seconds"]), key=lambda c: c["length"])
    windows = int(document["protocol"].rpartition("windows=")[2])
    sequences = windows * len(document["texts"])
    rate = sequences * SMOLLM2.operations(cell["length"]) / cell["seconds"]
    at_once = min(document["environment"]["batch"], sequences)
    each = cell["peak_memory_bytes"] / (at_once * cell["length"])
    return Measured(
        device=document["environment"]["device"],
        length=cell["length"],
        seconds=cell["seconds"],
        sequences=sequences,
        share=rate / FLOAT32_PEAK,
        bytes_per_middle=each / (SMOLLM2.middle * SMOLLM2.width),
    )


def seconds(tokens: int, known: Measured, ranks: int = 1) -> float:
    """Of one pass of the 7 B shape."""
    return SEVEN.operations(tokens) / (ranks * known.share * BFLOAT16_PEAK)


def activation_bytes(tokens: int, known: Measured, ranks: int = 1) -> float:
    """Of one full pass, on a rank."""
    return known.bytes_per_middle * SEVEN.middle * SEVEN.width * tokens / ranks
