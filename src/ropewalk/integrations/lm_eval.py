"""The model ``ropewalk`` of lm-evaluation-harness: a checkpoint under a method.

Source: lm-evaluation-harness 0.4.13, ``lm_eval.models.huggingface.HFLM``, which does the scoring.
"""

from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.loading import load_model
from ropewalk.integrations.session import config_of, extend_with, native_of
from ropewalk.methods.spec import NATIVE, Spec, parse_spec
from ropewalk.methods.stated_length import StatedLength

NAME = "ropewalk"
PASSED_ON = (
    "truncation", "logits_cache", "softmax_dtype", "mixed_precision_dtype", "batch_size",
    "max_batch_size", "add_bos_token", "prefix_token_id", "think_end_token", "enable_thinking",
    "chat_template_args",
)  # fmt: skip
"""Arguments that the harness heeds for a model that is loaded already; it ignores others."""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


class RopewalkLM(HFLM):  # type: ignore[misc]
    """``pretrained`` (a transformers folder, a .gguf file or a hub id) under ``method``.

    method      a method spec; ``native`` is the model as it ships
    max_length  tokens of a prompt and its answer; without it, what the method was asked to reach
    dtype       float32, as in ``compare``; float64 or bfloat16
    device      as torch writes it (the harness' --device); CUDA only where there is one, since
                the harness asks for it whether or not it is there

    Raises RopewalkError for a bad spec, an argument that would be ignored, a method that reaches
    any length where ``max_length`` is not given, and as ``rw.extend``.
    """

    def __init__(
        self,
        pretrained: str = "",
        method: str = NATIVE,
        max_length: int | None = None,
        dtype: str = "float32",
        device: str | None = None,
        **arguments: Any,
    ) -> None:
        if not pretrained:
            raise RopewalkError(
                "no model: expected --model_args pretrained=MODEL, a transformers folder, a .gguf "
                "file or a hub id"
            )
        _check(arguments, dtype)
        spec = parse_spec(method)
        loaded = load_model(pretrained, dtype=DTYPES[dtype], device=_place(device))
        length = max_length or _reached(loaded.model, spec)
        self.extension = extend_with(loaded.model, spec)
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.require_tokenizer(),
            max_length=length,
            **arguments,
        )
        self.method, self.name = spec.canonical, loaded.name

    def get_model_info(self) -> dict[str, Any]:
        """What the results file says of the model."""
        return {
            "model_num_parameters": sum(each.numel() for each in self.model.parameters()),
            "model_dtype": str(self.model.dtype),
            "model_name": self.name,
            "method": self.method,
            "max_length": self.max_length,
        }


def _check(arguments: dict[str, Any], dtype: str) -> None:
    ignored = sorted(set(arguments) - set(PASSED_ON))
    if ignored:
        raise RopewalkError(
            f"model_args {', '.join(ignored)}: expected pretrained, method, max_length, dtype, "
            f"device, {', '.join(PASSED_ON)}"
        )
    if dtype not in DTYPES:
        raise RopewalkError(f"model_args dtype={dtype}: expected one of {', '.join(DTYPES)}")


def _place(device: str | None) -> torch.device | None:
    if device is None or (device.startswith("cuda") and not torch.cuda.is_available()):
        return None
    return torch.device(device)


def _reached(model: Any, spec: Spec) -> int:
    shape, own = read_model(config_of(model)), native_of(model)
    stated = StatedLength.of(spec.resolved(own.geometry), spec.encoding(own.geometry, native=own))
    if not stated.bounded:
        raise RopewalkError(
            f"method {spec.text} names no longest context: expected model_args max_length=N, else "
            "prompts would be cut"
        )
    return stated.within(shape.longest or shape.trained_length)
