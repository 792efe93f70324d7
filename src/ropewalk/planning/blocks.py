"""What an engine takes for a key cache beyond the numbers in it: whole blocks of tokens.

    tokens of a layer = block * ceil((t_l + ahead) / block)

transformers  block 1: tensors grow by what is written
vllm          block 16, unless an attention backend asks for more (latent attention: 64)
sglang        block 1, unless an attention backend asks for more
llama.cpp     block 256: a sequence has its whole context, filled or not; layers with a window
              keep room for one batch of 512 tokens (-ub) ahead of it

Engines that put layers of several kinds into one pool (vLLM's hybrid manager) round up further,
by their pages; that depends on the release and its flags.

Source: vLLM 0.33.0, config/cache.py (DEFAULT_BLOCK_SIZE); SGLang 0.5.23, server_args.py
    (page_size); llama.cpp, src/llama-context.cpp (GGML_PAD(n_ctx, 256)) and
    src/llama-kv-cache-iswa.cpp (n_swa + n_ubatch, padded to 256).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Tokens that an engine takes at once, and those that it keeps ahead of a window."""

    block: int
    ahead: int = 0

    def tokens(self, kept: int, length: int) -> int:
        """Room for ``kept`` of ``length`` tokens."""
        room = min(kept + self.ahead, length) if kept < length else kept
        return self.block * -(-room // self.block)


BLOCKS: Mapping[str, Blocks] = MappingProxyType(
    {
        "transformers": Blocks(block=1),
        "vllm": Blocks(block=16),
        "sglang": Blocks(block=1),
        "llama.cpp": Blocks(block=256, ahead=512),
    }
)


def in_blocks(layers: list[dict[str, Any]], length: int, width: int) -> dict[str, dict[str, int]]:
    """Of each engine: ``block`` in tokens, and ``bytes`` of the cache in whole blocks.

    layers  rows of ``kv_cache``
    width   bytes of one number, of all sequences
    """
    return {
        engine: {
            "block": blocks.block,
            "bytes": sum(
                row["layers"]
                * row["numbers_per_token"]
                * width
                * blocks.tokens(row["tokens"], length)
                for row in layers
            ),
        }
        for engine, blocks in BLOCKS.items()
    }
