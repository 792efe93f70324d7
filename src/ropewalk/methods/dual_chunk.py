"""Dual chunk attention as a method."""

from dataclasses import replace
from typing import Literal

from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.method import MAP, Method, Promise, Reach
from ropewalk.methods.unscaled import none
from ropewalk.positions.dual_chunk import DualChunk
from ropewalk.scores.chunkllama_scale import ChunkLlamaScale


def dual_chunk(
    geometry: RopeGeometry,
    *,
    chunk_size: int | None = None,
    local_window: int | None = None,
    rule: Literal["paper", "chunkllama"] = "paper",
) -> Encoding:
    """Positions start again in every chunk.

    chunk_size    s; by default 3/4 of the trained length, or what local_window leaves of it
    local_window  w, distances that stay true across chunks; by default what chunk_size leaves
                  of the trained length
    rule          ``paper``: positions below s + w; ``chunkllama``: positions up to s + w, by
                  default s = 5/8 L0 and w = 1/8 L0, and logits that grow beyond L0

    Source: An et al. 2024, Training-Free Long-Context Scaling of Large Language Models,
        arXiv:2402.17463.
    Deviation: released code differs in all that ``rule=chunkllama`` says: at the defaults its
        distances are true up to 1/8 L0 (paper: 1/4 L0) and at most 3/4 L0 (paper: L0 - 1).
    """
    if rule == "chunkllama":
        return _chunkllama(geometry, chunk_size, local_window)
    length = geometry.trained_length
    size, window = _split(length, chunk_size, local_window, length - 3 * length // 4)
    return replace(none(geometry), position_map=DualChunk(chunk_size=size, local_window=window))


def _chunkllama(
    geometry: RopeGeometry, chunk_size: int | None, local_window: int | None
) -> Encoding:
    length = geometry.trained_length
    size, window = _split(3 * length // 4, chunk_size, local_window, length // 8)
    return replace(
        none(geometry),
        position_map=DualChunk(chunk_size=size, local_window=window + 1),
        score_mods=(ChunkLlamaScale(trained_length=length),),
    )


def _split(
    whole: int, chunk_size: int | None, local_window: int | None, default_window: int
) -> tuple[int, int]:
    """Chunk size and local window: what is not given is what the other leaves of ``whole``."""
    if chunk_size is None:
        local_window = default_window if local_window is None else local_window
        return _rest(whole, local_window, "local_window", "chunk_size"), local_window
    if local_window is None:
        local_window = _rest(whole, chunk_size, "chunk_size", "local_window")
    return chunk_size, local_window


def _rest(whole: int, taken: int, name: str, other: str) -> int:
    if not taken < whole:
        raise RopewalkError(
            f"{name}={taken} leaves nothing of {whole} tokens for {other}; lower it or state both"
        )
    return whole - taken


DUAL_CHUNK = Method(
    build=dual_chunk,
    summary="positions start again in every chunk",
    promises=MAP | {Promise.DISTANCES_IN_RANGE},
    reach=Reach(
        untuned=8,
        short_context="small: distances beyond a chunk change inside the trained length too",
        reason="Llama 2 7B at 8 times its length: perplexity 7.89 against 7.87, 15.87 at 16 times",
        source="An et al. 2024, arXiv:2402.17463, table 1 (PG19)",
    ),
)
