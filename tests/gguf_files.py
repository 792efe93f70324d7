"""Small GGUF files, written by the gguf package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, HEADS, WIDTH, CONTEXT = 64, 4, 16, 128
SIZES = {
    "context_length": CONTEXT,
    "embedding_length": HIDDEN,
    "block_count": 1,
    "feed_forward_length": 128,
    "attention.head_count": HEADS,
    "attention.head_count_kv": 2,
}


def write(
    path: Path,
    architecture: str = "llama",
    fields: Mapping[str, Any] | None = None,
    factors: Mapping[str, Any] | None = None,
) -> Path:
    """A file of that architecture with a few tensors of weights.

    fields   keys without the architecture's name before them
    factors  tensors of divisors, by name without ``.weight``
    """
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {**SIZES, **(fields or {})}.items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        add[type(value)](f"{architecture}.{key}", value)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{i}>" for i in range(300)])
    rows = np.random.default_rng(0)
    writer.add_tensor("token_embd.weight", rows.standard_normal((300, HIDDEN)).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(7, np.float32))  # 28 bytes, then padding
    for name, values in (factors or {}).items():
        writer.add_tensor(f"{name}.weight", np.asarray(values, np.float32))
    writer.add_tensor("output.weight", rows.standard_normal((300, HIDDEN)).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
