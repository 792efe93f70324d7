"""Models of the library that rotate nothing: their own biases of the distance, stretched in place.

ALiBi: layers are handed the bias; hooks hand them another, by the slopes that the model was seen
to have. T5: the modules that hold a table ask a function for buckets; another function stands in
its place. Nothing else of such a model changes, and ``native`` changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ropewalk.configs.limits import nothing_to_scale
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.integrations.encoded import fingerprint_of
from ropewalk.integrations.modes import at_rest
from ropewalk.integrations.own_positions import (
    layers_with_alibi,
    modules_with_a_table,
    modules_with_buckets,
    own_positions,
)
from ropewalk.integrations.placement import input_device
from ropewalk.integrations.probe import family_of, running
from ropewalk.integrations.removable import Removable
from ropewalk.methods.policies import static_encoding
from ropewalk.methods.spec import NATIVE
from ropewalk.scores.alibi import ALiBi, GivenSlopes
from ropewalk.scores.t5_bias import T5Bias

Undo = Callable[[], object]
NO_LENGTH = 2**20
"""Stands for the trained length of a model whose config states none."""


class OwnBiases(Removable):
    """An encoding in force in such a model, until ``remove``. A context manager."""

    def __init__(
        self, model: nn.Module, shape: ModelShape, change: Callable[[Encoding], Encoding], name: str
    ) -> None:
        """Raises RopewalkError where ``name``, unless native, changes nothing here."""
        _require_one_bias(model)
        self._model, self._undo = model, list[Undo]()
        own = own_encoding(model, shape)
        encoding = change(own)
        if encoding == own and name != NATIVE:
            raise RopewalkError(_refusal(model, shape, name))
        if encoding.score_mods[len(own.score_mods) :]:
            raise RopewalkError(
                f"{name} changes logits of {family_of(model)}, whose code hands them to nobody: "
                f"expected {_expected(model)}"
            )
        self.wanted, self._changed = {"all layers": encoding}, encoding != own
        self._put(own, encoding)

    @property
    def both_ways(self) -> bool:
        """Whether rows see what comes after them."""
        return not bool(getattr(self._model, "can_generate", lambda: False)())

    def remove(self) -> None:
        """Restore the model. Safe to call twice."""
        while self._undo:
            self._undo.pop()()

    def describe(self) -> dict[str, Any]:
        """Which layers changed, and a fingerprint of the encoding in force."""
        layers = len(layers_with_alibi(self._model)) or len(modules_with_buckets(self._model))
        return {
            "family": family_of(self._model),
            "layers": layers,
            "layers_changed": layers if self._changed else 0,
            "layers_without_positions": 0,
            "fingerprint": fingerprint_of(self.wanted.values()),
        }

    def _put(self, own: Encoding, encoding: Encoding) -> None:
        before, after = _slopes(own), _slopes(encoding)
        if before is not None and after is not None:
            for layer, argument in layers_with_alibi(self._model):
                hand_on = _Slopes(argument=argument, before=before, after=after)
                hook = layer.register_forward_pre_hook(hand_on, with_kwargs=True)
                self._undo.append(hook.remove)
        for rows in (each.last_length for each in own_positions(self._model)):
            if rows is not None and before is None:
                for module in modules_with_a_table(self._model):
                    hook = module.register_forward_pre_hook(_End(rows=rows), with_kwargs=True)
                    self._undo.append(hook.remove)
        bias = next((each for each in encoding.learned if isinstance(each, T5Bias)), None)
        if bias is None or not self._changed:
            return
        for module in modules_with_buckets(self._model):
            inner: Any = type(module)
            vars(module)[BUCKET] = partial(_bucket, inner._relative_position_bucket, bias)
            self._undo.append(partial(vars(module).pop, BUCKET))


BUCKET = "_relative_position_bucket"


def _bucket(
    stock: Callable[..., Tensor], bias: T5Bias, relative_position: Tensor, *_: Any, **given: Any
) -> Tensor:
    """The family's own bucket of a distance divided, up to the farthest of ``bias``."""
    distances = (relative_position / bias.factor).long()
    return stock(distances, **{**given, "max_distance": bias.max_distance})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slopes:
    """Hands a layer the bias of other slopes, for as many keys as the layer sees.

    before, after  ``[h]``
    """

    argument: str
    before: Tensor
    after: Tensor

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        bias, mask = given[self.argument], given.get("attention_mask")
        ratio = (self.after / self.before).to(bias.device)
        if self.argument == "position_bias":  # MPT's: as long as its config says, and no longer
            keys = mask.shape[-1] if mask is not None else bias.shape[-1]
            ahead = torch.arange(1 - keys, 1, device=bias.device)
            stretched = self.after.to(bias.device)[:, None, None] * ahead
            return args, {**given, self.argument: stretched.to(bias.dtype)}
        heads = bias.view(-1, len(ratio), 1, bias.shape[-1])
        stretched = (heads * ratio[:, None, None]).to(bias.dtype)
        if bias.ndim == 4 and mask is not None:  # Falcon's: its mask holds the bias already
            scale = (module.self_attention.head_dim) ** -0.5  # type: ignore[union-attr,operator]
            added = (stretched - heads) * scale
            hidden = mask <= torch.finfo(mask.dtype).min / 2
            given = {**given, "attention_mask": torch.where(hidden, mask, mask + added)}
        return args, {**given, self.argument: stretched.view(bias.shape)}


def _require_one_bias(model: nn.Module) -> None:
    """Falcon's eager attention adds the bias that its mask holds already (transformers 5.23)."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "alibi", False) is True and config._attn_implementation == "eager":
        raise RopewalkError(
            f"{family_of(model)} with ALiBi in eager attention: the library counts the bias twice; "
            "expected attn_implementation=sdpa"
        )


def _slopes(encoding: Encoding) -> Tensor | None:
    mod = next((each for each in encoding.score_mods if isinstance(each, ALiBi)), None)
    if mod is None:
        return None
    if mod.farthest is not None:
        raise RopewalkError(
            "rerope on a model of the library with ALiBi: its code takes a bias for each key, not "
            "for each distance; expected native, linear or ntk_aware"
        )
    slopes: Any = mod.slopes
    while not isinstance(slopes, GivenSlopes):
        slopes = slopes.trained
    return mod.slopes.of(len(slopes.values))


def own_encoding(model: nn.Module, shape: ModelShape) -> Encoding:
    """What the model was trained with, as far as a method may change it."""
    geometry = RopeGeometry(
        head_dim=64, rope_theta=1e4, trained_length=shape.longest or NO_LENGTH
    )  # nothing turns: of these numbers the length alone is read
    mods = (ALiBi(slopes=_measured_slopes(model)),) if layers_with_alibi(model) else ()
    tables: list[Any] = modules_with_buckets(model)[:1]
    biases = tuple(
        T5Bias(
            buckets=module.relative_attention_num_buckets,
            max_distance=module.relative_attention_max_distance,
            direction="causal" if module.is_decoder else "bidirectional",
        )
        for module in tables
    )
    return Encoding(
        geometry=geometry,
        frequencies=None,
        length_policy=static_encoding(geometry, None).length_policy,
        score_mods=mods,
        learned=biases,
    )


@torch.no_grad()
def _measured_slopes(model: nn.Module) -> GivenSlopes:
    """What the family's code hands to its layers, over two tokens."""
    (layer, argument), seen = layers_with_alibi(model)[0], list[Tensor]()

    def look(module: nn.Module, args: Any, given: dict[str, Any]) -> None:
        seen.append(given[argument])

    hook = layer.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with at_rest(model), running(model, "on two tokens"):
            ids = torch.zeros(1, 2, dtype=torch.long, device=input_device(model))
            model(ids, use_cache=False)
    finally:
        hook.remove()
    last = seen[-1]  # coming to rest, the model ran before
    steps = last.reshape(-1, last.shape[-1])[:, :2].double().diff(dim=-1)[:, 0]
    return GivenSlopes(tuple(steps.tolist()))


def _refusal(model: nn.Module, shape: ModelShape, name: str) -> str:
    """Why a method changes nothing in this model, and what would have to be trained."""
    limits = "; ".join(each.limit for each in own_positions(model)) or nothing_to_scale(shape)
    return (
        f"{name} changes nothing in {family_of(model)}, which rotates nothing: {limits}; expected "
        f"{_expected(model)}"
    )


def _expected(model: nn.Module) -> str:
    methods = {method for each in own_positions(model) for method in each.methods}
    return " or ".join([NATIVE, *sorted(methods)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """Refuses a pass that reads past the last of ``rows`` positions.

    rows  of a learned table
    """

    rows: int

    def __call__(self, module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids = given.get("input_ids", args[0] if args else None)
        ids = given["inputs_embeds"] if ids is None else ids
        cache = given.get("past_key_values")
        last = ids.shape[1] + (0 if cache is None else int(cache.get_seq_length()))
        if last > self.rows:
            raise RopewalkError(
                f"{last:,} tokens in a model with a learned table of {self.rows:,} positions: "
                "expected at most as many; a longer table has to be trained"
            )
