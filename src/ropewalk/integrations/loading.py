"""Load a checkpoint through transformers: safetensors or GGUF, never pickle, no remote code."""

import errno
import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ropewalk.configs.gguf import GGUFHeader, config_of, read_header
from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra
from ropewalk.integrations.gguf_refusals import refuse_dropped_scaling, refuse_other_channels
from ropewalk.integrations.placement import Spread, whole_state
from ropewalk.integrations.quiet import quiet
from ropewalk.integrations.sources import (
    Checkpoint,
    config_file,
    fetch,
    locate,
    read_config,
    require_weights,
)
from ropewalk.methods.sidecar import read_sidecar
from ropewalk.methods.spec import Spec

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A language model in eval mode, causal or an encoder, and what a run must know about it.

    model        on the device asked for
    tokenizer    None if the checkpoint has none
    method       that its ropewalk.json states; None where its config says what it does. Not in
                 force: who opens a model puts it there
    name         the folder's or file's name, or the hub id
    config       the config as transformers completed it with the family's defaults
    fingerprint  sha256 of the weights: names, dtypes, shapes and bytes. The config is not in
                 it: two checkpoints of the same weights may differ in their rope fields
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase | None"
    name: str
    config: dict[str, Any]
    fingerprint: str
    method: Spec | None = None

    def require_tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer; raises RopewalkError if the checkpoint has none."""
        return _required(self.tokenizer, self.name)


def load_model(
    source: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | Spread | None = None,
) -> LoadedModel:
    """Load a transformers folder, a .gguf file or a hub id, with weights in ``dtype``.

    device  where the model is put; ``Spread`` over all devices; None for CUDA where there is one,
            else the CPU

    Raises RopewalkError if there is no such source, no safetensors or GGUF weights, a config
    or weights that transformers cannot read, or weights that do not fill the model.
    """
    checkpoint = fetch(source)
    with quiet(), _explained(str(source)):
        config = _config(checkpoint)
        model = _weights(checkpoint, config, dtype, device)
        tokenizer = _tokenizer(checkpoint)
    _require_finite(model, checkpoint.name)
    if not isinstance(device, Spread):
        default = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        place: Any = device or default  # the library's decorator hides what .to takes
        model = model.to(place)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=checkpoint.name,
        config=model.config.to_dict(),
        fingerprint=fingerprint(model),
        method=None if checkpoint.gguf_file else read_sidecar(checkpoint.folder),
    )


def _require_finite(model: nn.Module, name: str) -> None:
    """NaN among the weights make every figure NaN, with no word of the cause."""
    for key, weight in model.named_parameters():
        if not weight.is_meta and weight.is_floating_point() and not torch.isfinite(weight).all():
            count = int((~torch.isfinite(weight)).sum())
            raise RopewalkError(
                f"{name}: {count:,} of {weight.numel():,} numbers of {key} are NaN or infinite; "
                "expected finite weights; convert or download the checkpoint again"
            )


def load_tokenizer(source: str | Path) -> "PreTrainedTokenizerBase":
    """The tokenizer alone; RopewalkError as ``load_model``, and where there is none."""
    checkpoint = fetch(source)
    with quiet(), _explained(str(source)):
        tokenizer = _tokenizer(checkpoint)
    return _required(tokenizer, checkpoint.name)


def _required(tokenizer: "PreTrainedTokenizerBase | None", name: str) -> "PreTrainedTokenizerBase":
    if tokenizer is None:
        raise RopewalkError(
            f"{name}: no tokenizer; expected tokenizer.json beside the weights; "
            "copy it from the base model"
        )
    return tokenizer


def load_config(source: str | Path) -> dict[str, Any]:
    """The config of a config.json, a folder, a .gguf file or a hub id, without its weights.

    A config.json is returned as it stands, a .gguf file's header in the keys of one. Raises
    RopewalkError as ``load_model`` does.
    """
    place = locate(source)
    if not isinstance(place, Checkpoint) or place.gguf_file is None:
        return read_config(config_file(place))
    with _explained(str(source)):
        return config_of(read_header(place.folder / place.gguf_file))


def gguf_header(source: str | Path) -> GGUFHeader | None:
    """The header of a .gguf file; None for a source of another kind."""
    place = locate(source)
    if not isinstance(place, Checkpoint) or place.gguf_file is None:
        return None
    return read_header(place.folder / place.gguf_file)


def fingerprint(model: nn.Module) -> str:
    """sha256 over names, dtypes, shapes and bytes of the saved tensors, in order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(whole_state(model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _config(checkpoint: Checkpoint) -> "PretrainedConfig":
    if checkpoint.gguf_file is None:
        read_config(config_file(checkpoint))
    else:
        # transformers loads the tensors through accelerate
        require_extra("gguf", "gguf", "accelerate", purpose="a .gguf file")
        refuse_dropped_scaling(checkpoint.folder / checkpoint.gguf_file)
    from transformers import AutoConfig

    config: PretrainedConfig = AutoConfig.from_pretrained(
        checkpoint.folder, **_arguments(checkpoint)
    )
    if checkpoint.gguf_file is not None:
        refuse_other_channels(checkpoint.folder / checkpoint.gguf_file, config)
    return config


def _weights(
    checkpoint: Checkpoint,
    config: "PretrainedConfig",
    dtype: torch.dtype,
    device: torch.device | Spread | None,
) -> "PreTrainedModel":
    loader = _loader(config)
    if checkpoint.gguf_file is None:
        require_weights(checkpoint.folder)
        _check_parameter_count(checkpoint.folder, config, loader)
    # The grouped matrix product of mixture-of-experts layers has no float64 kernel.
    experts = {"experts_implementation": "eager"} if dtype == torch.float64 else {}
    loaded: tuple[PreTrainedModel, Mapping[str, Any]] = loader.from_pretrained(
        checkpoint.folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        output_loading_info=True,
        **experts,
        **(device.arguments() if isinstance(device, Spread) else {}),
        **_arguments(checkpoint),
    )
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise RopewalkError(
            f"{len(missing)} tensors of the model are not in the weights ({missing[0]} first); "
            "expected all; does config.json belong to these weights?"
        )
    return model


def _loader(config: "PretrainedConfig") -> Any:
    """The library's loader: of causal models, or of encoders with or without their head."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
    )

    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise RopewalkError(
            f"model_type={config.model_type!r}: expected a causal language model of transformers, "
            "or an encoder"
        )
    with_head = any(name.endswith("ForMaskedLM") for name in config.architectures or ())
    return AutoModelForMaskedLM if with_head else AutoModel


def _tokenizer(checkpoint: Checkpoint) -> "PreTrainedTokenizerBase | None":
    files = (checkpoint.folder / name for name in _TOKENIZER_FILES)
    if checkpoint.gguf_file is None and not any(file.is_file() for file in files):
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint.folder, **_arguments(checkpoint))


def _arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    arguments: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if checkpoint.gguf_file is not None:
        arguments["gguf_file"] = checkpoint.gguf_file
    return arguments


def _check_parameter_count(folder: Path, config: "PretrainedConfig", loader: Any) -> None:
    """Refuse a config far larger than its weights before anything is allocated."""
    with torch.device("meta"):
        model = loader.from_config(config, trust_remote_code=False)
    described = sum(parameter.numel() for parameter in model.parameters())
    stored = sum(_stored_numbers(path) for path in folder.glob("model*.safetensors"))
    # Packed 4-bit weights hold eight values an element.
    if described > 9 * stored:
        raise RopewalkError(
            f"config.json describes {described:,} parameters and the weights hold {stored:,}; "
            "expected the same; does config.json belong to these weights?"
        )


def _stored_numbers(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn what transformers raises about a bad checkpoint into one line."""
    try:
        yield
    except RopewalkError as error:
        message = str(error)
        if source in message:
            raise
        raise RopewalkError(f"{source}: {message}") from error
    except Exception as error:
        # Any type may come from a broken file, down to KeyError; a full disk is no such thing.
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise RopewalkError(
            f"{source}: transformers cannot load it ({type(error).__name__}: {reason.strip()}); "
            "check config.json and the weights"
        ) from error
