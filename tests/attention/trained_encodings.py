"""Encodings with parameters, their inputs, and attention spelled out pair by pair."""

from unittest.mock import patch

import torch

from attention_inputs import qkv, trained
from ropewalk.attention import tiled
from ropewalk.attention.plain import attend_plain
from ropewalk.attention.tiled import attend
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding

L0, DIM, HEADS = 6, 8, 4


GEOMETRY = RopeGeometry(head_dim=DIM, rope_theta=50.0, trained_length=L0)


def built(spec, geometry=GEOMETRY):
    return encoding(spec, geometry)


def learned(spec, keys=13, queries=9, batch=2):
    return trained(built(spec), HEADS, keys, queries, batch=batch, head_dim=DIM)


def inputs(**shape):
    return qkv(values=DIM, **shape)


def in_pieces(q, *call, **own):
    with torch.no_grad():
        return attend(q, *call, **own)


def in_blocks(q, *call, **own):
    with patch.object(tiled, "attend_differentiable", attend_plain):
        return attend(q.clone().requires_grad_(), *call, **own).detach()
