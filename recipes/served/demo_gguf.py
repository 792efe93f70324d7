"""The demo model as a .gguf file, in float32: what llama.cpp's converter would write of it.

Source: llama.cpp 0c1e57098, convert_hf_to_gguf.py (LlamaModel: queries and keys are permuted for
    a graph that rotates neighbouring pairs).
"""

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from ropewalk.data import demo_model

_NORMAL, _CONTROL = 1, 3


def write_demo(file: Path, context_length: int | None = None) -> Path:
    """Write the demo model to ``file``; without scaling, as its config says.

    context_length  n_ctx_train, which caps a slot; by default the trained length
    """
    folder = demo_model()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(file, "llama")
    _add_config(writer, config)
    writer.add_context_length(context_length or config["max_position_embeddings"])
    _add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text("utf-8")), config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = _permuted(name, tensor.float(), config)
        told = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(told, np.ascontiguousarray(values.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_config(writer: gguf.GGUFWriter, config: dict) -> None:
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict, config: dict) -> None:
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {each["id"] for each in tokenizer["added_tokens"] if each["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_types([_CONTROL if one in special else _NORMAL for _, one in vocabulary])
    pairs = tokenizer["model"]["merges"]
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in pairs])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def _permuted(name: str, tensor: Tensor, config: dict) -> Tensor:
    """Halves of a head as neighbouring pairs, for the rows of queries and keys."""
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for part, count in heads.items():
        if part in name:
            halves = tensor.reshape(count, 2, tensor.shape[0] // count // 2, tensor.shape[1])
            return halves.swapaxes(1, 2).reshape(tensor.shape)
    return tensor
