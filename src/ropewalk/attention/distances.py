"""Biases of the distance alone, without a number for each pair.

A matrix whose entry is a function of row minus key is constant along its diagonals: with its rows
in falling order, entry (i, j) is number i + j of one vector, so the matrix is a view of it whose
rows overlap. A kernel that reads masks by their strides needs no more than the vector, 4 h (m + n)
bytes for m rows and n keys.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ropewalk.attention.call import Call, Part
from ropewalk.attention.diagonals import LEAST
from ropewalk.attention.rotary import Rotary
from ropewalk.attention.tiles import Piece
from ropewalk.core.rotation import work_dtype
from ropewalk.core.score_mods import Block

LEAST_ROWS = 128


@dataclass(frozen=True, slots=True, eq=False)
class DistanceBias:
    """What is added to scores at each distance of a call.

    numbers  ``[h, D]``, float32 or float64: number i is of the distance ``highest`` - i
    """

    numbers: Tensor
    highest: int

    @classmethod
    def of(cls, rotary: Rotary, call: Call, q: Tensor) -> "DistanceBias | None":
        """Of a layer with queries ``q`` ``[b, h, m, d]``; None where there is another bias or none.

        Carries gradients of what is learned.
        """
        if not rotary.encoding.biased_by_distance:
            return None
        lowest, highest = call.distances()
        falling = torch.arange(highest, lowest - 1, -1, device=q.device)
        rows, keys = falling[None, :, None], falling.new_zeros(1, 1, 1)
        block = Block(
            q=q[:1, :, :1], scale=1.0, rows=rows, keys=keys, batch=slice(0, 1),
            queries=slice(0, 1), key_range=slice(0, 1), all_queries=1,
        )  # fmt: skip
        bias = rotary.bias(block)
        assert bias is not None  # or the encoding would not be biased
        return cls(bias[0, :, :, 0].to(work_dtype(q.dtype)).contiguous(), highest)

    def certain(self, q: Tensor, k: Tensor, scale: float) -> "DistanceBias":
        """Without the distances whose weights are certainly too small to count in any row.

            c_0 - c_d > -ln(least) + 2 scale max|q| max|k|

        since no score is farther from 0 than the norms say and each row sees itself. Under steep
        slopes most of these weights are no normal numbers, of which each product costs a hundred
        others. The norms are read once more, so a few rows over many keys stay as they are.

        q  ``[b, h, m, d]``, k  ``[b, g, n, d]``; as they are multiplied, or rotated by waves of
        magnitude 1
        """
        if q.shape[2] < LEAST_ROWS or not 0 <= self.highest < self.numbers.shape[1]:
            return self
        most_q, most_k = (x.to(self.numbers.dtype).norm(dim=-1).amax(dim=(0, 2)) for x in (q, k))
        spread = 2 * scale * most_q * most_k.repeat_interleave(len(most_q) // len(most_k))
        own = self.numbers[:, self.highest, None]
        nothing = own - self.numbers > spread[:, None] - LEAST[own.dtype]
        return replace(self, numbers=self.numbers.masked_fill(nothing, float("-inf")))

    def start(self, piece: Piece, part: Part) -> int:
        """Number of the last row's distance from the first key of a diagonal piece.

        With rows in falling order the piece's diagonals are the m + n - 1 numbers from there on.
        """
        distance = part.query_index[piece.last - 1] - part.key_index[piece.start]
        return self.highest - int(distance)

    def falling(self, piece: Piece, part: Part) -> Tensor:
        """``[1, h, m, n]`` of a diagonal piece, its rows from last to first.

        Minus infinity where the piece's band has no key.
        """
        rows, keys = piece.last - piece.first, piece.stop - piece.start
        start, count = self.start(piece, part), rows + keys - 1
        numbers = self.numbers[:, start : start + count]
        assert part.bands is not None  # or the piece would be ragged
        band = part.bands[piece.region].rows(piece.first, piece.last)
        before, after = int(band.start[-1]) - piece.start, piece.stop - int(band.stop[0])
        if before or after:
            numbers = numbers.clone()
            numbers[:, :before] = float("-inf")
            numbers[:, count - after :] = float("-inf")
        heads, (stride, _) = len(numbers), numbers.stride()
        view = numbers.as_strided((1, heads, rows, keys), (0, stride, 1, 1))
        return view if view.device.type == "cpu" else view.contiguous()
