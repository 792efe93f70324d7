"""Numbers with which there are no frequencies, and modifications that mean nothing."""

import math

import pytest
import torch
from rope_geometries import GEOMETRIES
from torch.testing import assert_close

from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.methods.build import encoding


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, math.nan, math.inf, 2.0**41])
@pytest.mark.parametrize(
    "name", ["linear", "ntk_aware", "dynamic_ntk", "ntk_by_parts", "yarn", "llama3"]
)
def test_impossible_factors_are_refused(name, factor):
    with pytest.raises(RopewalkError, match="factor="):
        encoding(name, GEOMETRIES[0], factor=factor)


@pytest.mark.parametrize("name", ["ntk_aware:factor=2", "dynamic_ntk"])
def test_ntk_needs_more_than_one_pair(name):
    geometry = RopeGeometry(head_dim=2, rope_theta=1e4, trained_length=256)
    with pytest.raises(RopewalkError, match="d > 2"):
        encoding(name, geometry)


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ("longrope:factor=4", {"short_factor": [1.0] * 32, "long_factor": [1.0] * 31}),
        ("longrope:factor=4", {"short_factor": [1.0] * 31 + [0.0], "long_factor": [1.0] * 32}),
        ("longrope:factor=0.5", {"short_factor": [1.0] * 32, "long_factor": [1.0] * 32}),
        ("proportional:partial_rotary_factor=1.5", {}),
        ("yarn:factor=4,beta_fast=0", {}),
        ("yarn:factor=4,attention_factor=0", {}),
        ("yarn:factor=4,mscale=-1,mscale_all_dim=1", {}),
        ("yarn:factor=4,ramp=paper,truncate=false", {}),
        ("llama3:factor=4,low_freq_factor=4,high_freq_factor=3", {}),
        ("abf:rope_theta=1", {}),
        ("temperature:tau=0", {}),
        ("log_n:base_length=1", {}),
        ("log_n:form=above,base_length=1", {}),
        ("log_n:slope=0.1", {}),
        ("log_n:form=staircase,slope=-1", {}),
    ],
)
def test_parameters_with_which_no_encoding_exists_are_refused(spec, parameters):
    with pytest.raises(RopewalkError):
        encoding(spec, GEOMETRIES[0], **parameters)


def test_plain_log_n_may_fall_below_one_and_floored_may_not():
    (geometry, *_) = GEOMETRIES
    rows = torch.tensor([0, 15, 255, 65535])
    plain = encoding("log_n:form=plain", geometry).query_scale(rows)
    floored = encoding("log_n", geometry).query_scale(rows)
    assert_close(plain, torch.tensor([0, 0.5, 1, 2], dtype=torch.float64))
    assert_close(floored, torch.tensor([1, 1, 1, 2], dtype=torch.float64))
