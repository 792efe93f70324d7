"""Speed and memory as ratios against a peer or a limit measured in the same run."""

from ropewalk.api.benching.attention import bench_attention
from ropewalk.api.benching.decode import bench_decode
from ropewalk.api.benching.perplexity import bench_perplexity
from ropewalk.api.benching.rotate import bench_rotate
from ropewalk.api.benching.stream import bench_stream

__all__ = ["bench_attention", "bench_decode", "bench_perplexity", "bench_rotate", "bench_stream"]
