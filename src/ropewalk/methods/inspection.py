"""The position encoding in force, as a document: what ``ropewalk inspect`` prints."""

import math
from typing import Any

import torch

from ropewalk.analysis.pairs import critical_dimension, pair_facts, safe_length
from ropewalk.analysis.rows import last_row_length
from ropewalk.analysis.training import Stage, Training
from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.reach import pretrained_length, tuned_length
from ropewalk.configs.rope import RopeSection
from ropewalk.configs.shape import ModelShape
from ropewalk.core.encoding import Encoding
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.config_warnings import config_warnings
from ropewalk.methods.from_config import native_encoding, softmax_scale
from ropewalk.methods.layer_table import layer_table
from ropewalk.methods.spec import NATIVE, Spec, parse_spec
from ropewalk.methods.unscaled import none


def inspect_model(
    shape: ModelShape,
    *,
    context_length: int | None = None,
    method: str | Spec | None = None,
    layer_type: str | None = None,
) -> dict[str, Any]:
    """What turns how fast, and which pairs see angles that training never showed them.

    context_length  N, in tokens; by default the config's max_position_embeddings
    method          a spec; by default ``native``, what the config asks for
    layer_type      for configs whose layer types differ

    Returns a JSON-serialisable document. ``layers`` are the kinds of layer; the other fields are
    those of the layers that rotate and see farthest, or of ``layer_type``. Where no layer rotates,
    ``rotates`` is false, ``reason`` says why, ``inv_freq`` and ``pairs`` are empty and numbers of
    a rotation null. ``inv_freq``, ``attention_factor`` and ``logit_scale``
    (tau) are those of the last row at N. A pair is ``out_of_range`` if it never completed a turn
    in any stage of training and now reaches an angle beyond all that they showed: unscaled up to
    the trained length L0, and under the scaling that the checkpoint is shipped with up to the
    length that it was tuned to (``configs.reach``). ``safe_length`` is the largest length N at
    which no pair is out of range with L = N (a fixed L where the policy fixes it), never less than
    the length that ``native`` was tuned to: null where there is none up to 2^40 tokens, or where a
    position map or start tokens decide, not frequencies; ``unscaled_safe_length`` is that of
    unscaled frequencies after the first stage alone. For
    ``critical_dimension`` see ``critical_dimension``, for ``warnings`` ``config_warnings``.

    Raises RopewalkError for a rotation, length or method that cannot be used.
    """
    if shape.without_rotation is not None:
        asked = method.text if isinstance(method, Spec) else method
        return _without_rotation(shape, context_length, asked, shape.without_rotation)
    section = shape.rope(layer_type)
    length = _checked(section.max_position_embeddings if context_length is None else context_length)
    native = native_encoding(section)
    spec = method if isinstance(method, Spec) else parse_spec(method or NATIVE)
    encoding = spec.encoding(section.geometry(), context_length=length, native=native)
    if encoding.frequencies is None:
        return _without_rotation(shape, length, spec.text, f"{spec.text} rotates nothing")
    unscaled, shown = trained_encoding(section), training_of(section)
    trained = unscaled.rotation.inv_freq(section.trained_length)
    pretraining = Training((Stage(inv_freq=trained, length=section.trained_length),))
    row_length = last_row_length(encoding, length)
    geometry = encoding.geometry
    return {
        "head_dim": geometry.head_dim,
        "rotary_dim": geometry.rotary_dim,
        "rope_theta": geometry.rope_theta,
        "trained_length": geometry.trained_length,
        "method": spec.text,
        "context_length": length,
        "inv_freq": encoding.rotation.inv_freq(row_length).tolist(),
        "attention_factor": encoding.rotation.attention_factor(row_length),
        "logit_scale": encoding.query_scale(torch.tensor([length - 1])).item(),
        "softmax_scale": softmax_scale(section),
        "critical_dimension": critical_dimension(geometry),
        "pairs_without_full_turn": int((trained * geometry.trained_length < 2 * math.pi).sum()),
        "safe_length": safe_length(encoding, shown),
        "unscaled_safe_length": safe_length(unscaled, pretraining),
        "warnings": config_warnings(shape, section, length),
        "pairs": pair_facts(encoding, trained, shown, length),
        "rotates": True,
        "layers": layer_table(shape),
    }


_OF_A_ROTATION = (
    *("head_dim", "rotary_dim", "rope_theta", "attention_factor", "logit_scale"),
    *("softmax_scale", "critical_dimension", "pairs_without_full_turn", "safe_length"),
    "unscaled_safe_length",
)


def _without_rotation(
    shape: ModelShape, context_length: int | None, method: str | None, reason: str
) -> dict[str, Any]:
    parse_spec(method or NATIVE)
    length = shape.longest if context_length is None else _checked(context_length)
    return {
        **dict.fromkeys(_OF_A_ROTATION),
        "trained_length": shape.longest,
        "method": method or NATIVE,
        "context_length": length,
        "inv_freq": [],
        "warnings": [],
        "pairs": [],
        "rotates": False,
        "reason": reason,
        "layers": layer_table(shape),
    }


def _checked(length: int) -> int:
    if isinstance(length, bool) or not isinstance(length, int) or not 2 <= length <= LARGEST_LENGTH:
        raise RopewalkError(f"context_length={length}: expected 2 to 2^40 tokens")
    return length


def training_of(section: RopeSection) -> Training:
    """Every stage that a config speaks of: unscaled up to L0, as shipped up to its tuned length.

    Where L0 is not stated (linear), what is shipped is all that is known.
    """
    tuned, native = tuned_length(section), native_encoding(section).rotation
    as_shipped = Stage(inv_freq=native.inv_freq(tuned), length=tuned)
    before = pretrained_length(section)
    if before is None:
        return Training((as_shipped,))
    unscaled = trained_encoding(section).rotation.inv_freq(before)
    return Training((Stage(inv_freq=unscaled, length=before), as_shipped))


def trained_encoding(section: RopeSection) -> Encoding:
    """The encoding of training: no scaling, except where it belongs to the model."""
    if section.rope_type == "proportional":
        return native_encoding(section)
    return none(section.geometry())
