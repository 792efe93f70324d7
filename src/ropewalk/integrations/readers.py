"""Who computes with the answer of a model's rotary modules.

Attention that goes through the library's interface is led by us. Whatever else turns with cos
and sin (the indexer of a sparse attention, say) would see no positions where ours answer 1
and 0. Handing the answer on is no reading: whole layers are handed it and leave it alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch._C import DisableTorchFunctionSubclass


class Readers:
    """Names of the modules that computed with an answer, other than attention.

    attention  names of the modules that may turn queries and keys. A module around one of them
               may prepare the answer for it: what comes of that is still the answer.
    """

    def __init__(self, attention: Iterator[str]) -> None:
        self.names: set[str] = set()
        self._attention = frozenset(attention)
        self._running: list[str] = []

    def marked(self, answer: Any) -> Any:
        """The answer, which from now on tells who computes with it."""
        if isinstance(answer, Tensor):
            return _Answer.of(answer, self)
        if isinstance(answer, list | tuple):
            return type(answer)(self.marked(each) for each in answer)
        return answer

    def read(self, result: Any) -> Any:
        """What the module that runs now computed with an answer."""
        name = self._running[-1] if self._running else ""
        if any(each.startswith(f"{name}." if name else "") for each in self._attention):
            return self.marked(result)
        if name not in self._attention and any(True for _ in _tensors(result)):
            self.names.add(name)
        return result

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Know which module of the model runs."""

        def enter(name: str) -> Callable[..., None]:
            return lambda module, args: self._running.append(name)

        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(name)))
            handles.append(
                module.register_forward_hook(
                    lambda module, args, out: self._left(), always_call=True
                )
            )
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _left(self) -> None:
        self._running.pop()


class _Answer(Tensor):
    """A tensor that tells ``readers`` of each operation on it."""

    readers: Readers

    @classmethod
    def of(cls, answer: Tensor, readers: Readers) -> "_Answer":
        marked = answer.as_subclass(cls)
        marked.readers = readers
        return marked

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        with DisableTorchFunctionSubclass():
            result = func(*args, **given)
        answer = next(each for each in _tensors((args, given)) if isinstance(each, cls))
        return answer.readers.read(_plain(result))


def _plain(result: Any) -> Any:
    return result.as_subclass(Tensor) if isinstance(result, _Answer) else result


def _tensors(inputs: Any) -> Iterator[Tensor]:
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, Mapping):
        yield from _tensors(tuple(inputs.values()))
    elif isinstance(inputs, list | tuple):
        for each in inputs:
            yield from _tensors(each)
