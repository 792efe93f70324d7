"""What of a model is trained: all of it, or low-rank adapters with norms and embeddings.

The adapters are put into the model itself, so that whatever is in force in it (an extension)
stays where it is, tied embeddings stay tied, and merging leaves a plain model.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from torch import nn

from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Trainable(ABC):
    """Which parameters are trained. A final subclass is a frozen dataclass."""

    @abstractmethod
    def check(self, model: "PreTrainedModel") -> None:
        """Raise RopewalkError where the model cannot be trained so."""

    @abstractmethod
    def installed(self, model: "PreTrainedModel") -> Any:
        """A context in which the model is trained so; what was learned is merged at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything(Trainable):
    """Every parameter."""

    def check(self, model: "PreTrainedModel") -> None:
        return None

    @contextmanager
    def installed(self, model: "PreTrainedModel") -> Iterator[None]:
        model.requires_grad_(requires_grad=True)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank(Trainable):
    """W + (alpha / rank) B A for each target W, and norms and embeddings in full.

    targets  names of linear layers; empty for all but the output layer

    Source: Hu et al. 2021, LoRA, arXiv:2106.09685; Chen et al. 2023, LongLoRA, arXiv:2309.12307,
        section 3.3: longer contexts need norms and embeddings trained too.
    Deviation: none.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 < self.alpha < float("inf"):
            raise RopewalkError(
                f"lora:rank={self.rank},alpha={self.alpha}: expected a rank of at least 1 and "
                "an alpha above 0"
            )

    def check(self, model: "PreTrainedModel") -> None:
        require_extra("tune", "peft", purpose="--train lora")
        linear = {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not model.get_output_embeddings()
        }
        for target in self.targets:
            if target not in linear:
                near = get_close_matches(target, linear, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise RopewalkError(
                    f"lora target {target}: {model.config.model_type} has no such linear layer; "
                    f"expected of {', '.join(sorted(linear))}{hint}"
                )

    @contextmanager
    def installed(self, model: "PreTrainedModel") -> Iterator[None]:
        self.check(model)
        from peft import LoraConfig, LoraModel

        whole = [*_norms(model), model.get_input_embeddings(), model.get_output_embeddings()]
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # any number divides
            lora_dropout=0.0,
            target_modules=list(self.targets) or "all-linear",
            task_type="CAUSAL_LM",
        )
        tuner = LoraModel(model, config, "default")
        for module in whole:
            if module is not None:
                module.requires_grad_(requires_grad=True)
        try:
            yield
        except BaseException:
            tuner.unload()
            raise
        tuner.merge_and_unload()
        model.requires_grad_(requires_grad=True)


def _norms(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        if "Norm" in type(module).__name__:
            yield module
