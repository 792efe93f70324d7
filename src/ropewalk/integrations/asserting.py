"""assert_encoding and RopewalkCallback: does a live model do what it was asked to?"""

from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import TrainerCallback

from ropewalk.configs.shape import read_model
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.live import (
    LiveRotation,
    doublings_to,
    encodings_in_force,
    live_rotations,
)
from ropewalk.integrations.live_heads import head_rotations
from ropewalk.integrations.precision import exact
from ropewalk.integrations.session import config_of
from ropewalk.integrations.wrappers import unwrapped
from ropewalk.methods.by_layer import encoders
from ropewalk.methods.spec import NATIVE, Spec, parse_spec

LIKELY = ("none", "native", "linear", "ntk_aware", "yarn", "llama3", "dynamic_ntk")
"""What a live model may do instead of what was asked for, the likeliest first."""


def assert_encoding(
    model: nn.Module, spec: str | Spec, config: Mapping[str, Any] | None = None
) -> None:
    """Measure the rotation that a live model applies, and raise if it is not the spec's.

        rw.assert_encoding(trainer.model, "yarn:factor=4")

    The model may be wrapped (PEFT, data parallel), compiled or in training; extended by Ropewalk,
    by its own config, or by another tool, in its rotary modules or in the function that rotates:
    measured are the modules' answers and the queries that reach attention. Three forward passes
    of about twenty tokens, up to four times the trained length.

    spec    what it should do; ``native`` is what the config says
    config  that the spec's factors refer to, where the model's own states the method already: that
            of the checkpoint before; by default the model's own

    Raises RopewalkError with the pair, the frequency or the attention factor that is off, and
    the method that it looks like instead; and for a model or spec that cannot be asked.
    """
    parsed = parse_spec(spec) if isinstance(spec, str) else spec
    spec = parsed.text
    wanted = _wanted(model, parsed, config)
    in_force = encodings_in_force(model)
    if in_force is not None:
        _require_in_force(spec, wanted, in_force)
        return
    wanted = _rotating(wanted)
    if not wanted:
        raise RopewalkError(f"{spec} rotates nothing, and the model is not extended; extend it")
    _require_rotation_alone(spec, wanted, _rotating(_wanted(model, parse_spec(NATIVE), config)))
    farthest = 4 * max(each.geometry.trained_length for each in wanted)
    rotations = live_rotations(model, farthest)
    rotations += head_rotations(unwrapped(model), wanted[0], doublings_to(farthest))
    for live in rotations:
        differences = [live.difference(encoding) for encoding in wanted]
        if None not in differences:
            raise RopewalkError(
                f"{live.name} does not apply {spec}: {differences[0]}; "
                f"{_likeness(model, spec, live)}; extend the model, or write the method into its "
                "config before it is loaded"
            )


def _wanted(
    model: nn.Module, spec: Spec, config: Mapping[str, Any] | None = None
) -> list[Encoding]:
    """What each layer type should have, and what it may keep: its own, in a short window."""
    shape = read_model(config_of(unwrapped(model)) if config is None else config)
    encode, native = encoders(shape, spec)
    types = {kind.layer_type for kind in shape.kinds} if isinstance(shape.kinds, tuple) else {None}
    found: list[Encoding] = []
    for layer_type in sorted(types, key=str):
        found.append(encode(layer_type) or native(layer_type))
        if layer_type == "sliding_attention":
            found.append(native(layer_type))
    return found


def _rotating(encodings: list[Encoding]) -> list[Encoding]:
    return [each for each in encodings if each.frequencies is not None]


def _require_rotation_alone(spec: str, wanted: list[Encoding], own: list[Encoding]) -> None:
    """What else belongs to a method happens inside attention, where nothing is to be measured: the
    model's own code does what its config says, and an extension the rest."""

    def beside(encoding: Encoding) -> tuple[object, ...]:
        return encoding.position_map, encoding.score_mods, encoding.learned

    if not {beside(each) for each in wanted} <= {beside(each) for each in own}:
        raise RopewalkError(
            f"{spec} is more than a rotation (a position map, or a scale of the scores), and the "
            "model is not extended: its attention sees every distance as it is; extend the model"
        )


def _require_in_force(spec: str, wanted: list[Encoding], in_force: list[Encoding]) -> None:
    """An extension's own attention rotates: what it holds is what it applies."""
    plain = [exact(each).paired("half") for each in wanted]
    for encoding in in_force:
        if exact(encoding).paired("half") not in plain:
            raise RopewalkError(
                f"the extension in force is not {spec}: expected {_described(plain[0])}; "
                "remove it and extend again"
            )


def _described(encoding: Encoding) -> str:
    """Its rotation and what is added to scores, by the names of the code."""
    turns = encoding.frequencies is not None
    rotation = type(encoding.rotation).__name__ if turns else "no rotation"
    policy = f" under {encoding.length_policy}" if turns else ""
    return " and ".join([f"{rotation}{policy}", *(type(m).__name__ for m in encoding.score_mods)])


def _likeness(model: nn.Module, spec: str, live: LiveRotation) -> str:
    """Which method the live rotation looks like."""
    given = [dict(part.arguments) for part in parse_spec(spec).parts]
    factor = next((each["factor"] for each in given if "factor" in each), 4)
    for name in LIKELY:
        for text in (name, f"{name}:factor={factor}"):
            try:
                candidates = _rotating(_wanted(model, parse_spec(text)))
            except RopewalkError:
                continue
            if any(live.difference(each) is None for each in candidates):
                return f"it looks like {text}"
    return "it looks like no method known here"


class RopewalkCallback(TrainerCallback):
    """Asserts an encoding at the start and the end of a training, and every so many steps.

        Trainer(..., callbacks=[rw.RopewalkCallback("yarn:factor=4")])

    spec, config  as in ``assert_encoding``
    every_steps   None for the start and the end alone
    """

    def __init__(
        self,
        spec: str | Spec,
        every_steps: int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(spec, str):
            parse_spec(spec)
        self.spec, self.every_steps, self.config = spec, every_steps, config

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        assert_encoding(given["model"], self.spec, self.config)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if self.every_steps and state.global_step % self.every_steps == 0:
            assert_encoding(given["model"], self.spec, self.config)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        assert_encoding(given["model"], self.spec, self.config)
