"""Models and folders whose own path depends on the length."""

import pytest
import torch
from verified_models import DYNAMIC, LENGTH, predictor, small

from ropewalk.verification.checks import (
    Sample,
)


@pytest.fixture(scope="module")
def dynamic():
    return small(**DYNAMIC)


@pytest.fixture
def sample(dynamic):
    return Sample.of(predictor(dynamic), LENGTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model without a tokenizer."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    small(dtype=torch.float32).save_pretrained(path)
    return str(path)
