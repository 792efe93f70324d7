"""What an extended model refuses before anything is lost, until its extension is removed.

Functions of an instance and hooks, no closures: a copy of the model is guarded by its own.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from torch import compiler, nn
from transformers import PreTrainedModel

from ropewalk.core.errors import RopewalkError

_BATCHING = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")
_DELTAS = "rope_deltas"
"""Where families for images keep, from one call to the next, how far an image moved the text."""
_REMEDY = (
    "its weights are the checkpoint's own and its encoding is not in them; call extension.remove() "
    "first; for a checkpoint whose config states the method: ropewalk export MODEL --method SPEC "
    "--engine transformers --out DIR, and load that"
)


class Guards:
    """Of one model."""

    def __init__(self, model: nn.Module) -> None:
        self._named: list[tuple[nn.Module, str]] = []
        self._deltas: list[tuple[nn.Module, Any]] = []
        self._hooks = [model.register_forward_pre_hook(_refuse_saving_trainer)]
        for module in model.modules():
            if isinstance(module, PreTrainedModel):
                # An adapter around it saves itself; the model does not.
                self._put(module, ("save_pretrained",), _refuse_saving)
            if _DELTAS in vars(module):
                self._deltas.append((module, module.rope_deltas))
                self._hooks.append(module.register_forward_pre_hook(_text_alone))
                self._hooks.append(module.register_forward_hook(_text_alone, always_call=True))

    def refuse_batching(self, model: nn.Module) -> None:
        """Continuous batching brings an attention of its own."""
        for module in model.modules():
            self._put(module, [name for name in _BATCHING if hasattr(module, name)], _refuse_batch)

    def undo(self) -> None:
        """The model as it was."""
        for hook in self._hooks:
            hook.remove()
        for module, name in self._named:
            vars(module).pop(name, None)
        for module, value in self._deltas:
            module.rope_deltas = value

    def _put(self, module: nn.Module, names: Iterable[str], refuse: Callable[..., None]) -> None:
        for name in names:
            vars(module)[name] = refuse
            self._named.append((module, name))


def _text_alone(module: Any, *given: Any) -> None:
    """An image that another call read says nothing of this text."""
    module.rope_deltas = None


def _refuse_saving(*args: Any, **kwargs: Any) -> None:
    raise RopewalkError(f"an extended model is not saved: {_REMEDY}")


def _refuse_batch(*args: Any, **kwargs: Any) -> None:
    raise RopewalkError(
        "continuous batching computes attention itself, and this method needs its own: expected "
        "generate on a padded batch, or a method of one base, such as yarn; do not switch the "
        "attention implementation under an extension"
    )


PARAMETERS_ALONE = "saves_parameters_alone"
"""Attribute of a Trainer whose checkpoints hold what is trained, and no model."""


def _refuse_saving_trainer(model: nn.Module, args: Any) -> None:
    """Before the first step, not at the first checkpoint: hours of work would be lost there."""
    if not model.training or compiler.is_compiling():
        return
    trainer = _running_trainer()
    strategy = getattr(getattr(trainer, "args", None), "save_strategy", "no")
    strategy = getattr(strategy, "value", strategy)
    # An adapter saves itself alone, and so does ``ropewalk.training.tuning.tuner``.
    alone = hasattr(getattr(trainer, "model", None), "get_base_model")
    if strategy != "no" and not alone and not getattr(trainer, PARAMETERS_ALONE, False):
        raise RopewalkError(
            f"a Trainer with save_strategy={strategy} would save an extended model: {_REMEDY}; or "
            "train with save_strategy=no"
        )


def _running_trainer() -> Any:
    """The transformers Trainer that trains in this thread, if any; only the stack knows of it."""
    module = sys.modules.get("transformers.trainer")
    frame = None if module is None else sys._getframe(1)
    while frame is not None and module is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, module.Trainer) and caller.is_in_train:
            return caller
        frame = frame.f_back
    return None
