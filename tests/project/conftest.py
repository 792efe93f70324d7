"""A model that pages describe."""

import pytest

from recipes.families.sharpened import tiny


@pytest.fixture(scope="module")
def model():
    import torch

    return tiny(dtype=torch.float32)
