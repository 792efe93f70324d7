"""What the benches of models share."""

import copy
from itertools import chain
from typing import Any

import torch
from torch import nn

from ropewalk.configs.shape import read_model
from ropewalk.core.passes import Pass
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.session import config_of, extend_with
from ropewalk.methods.spec import parse_spec


def trained_length_of(loaded: LoadedModel) -> int:
    return read_model(config_of(loaded.model)).rope().geometry().trained_length


def random_ids(loaded: LoadedModel, length: int) -> torch.Tensor:
    """Token ids int64 ``[length]``, the same for every run: speed does not read the text."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary_of(loaded), (length,), generator=generator)


def vocabulary_of(loaded: LoadedModel) -> int:
    """Entries of the embedding."""
    embeddings: Any = loaded.model.get_input_embeddings()
    return int(embeddings.num_embeddings)


def extended_copy(
    model: nn.Module, method: str, *, split: Pass | None = None, factor: float | None = None
) -> nn.Module:
    """A copy with a method in it, on the model's own weights: for contenders that take turns.

    split   the pass that it is meant for
    factor  where the method was given none
    """
    weights = {id(each): each for each in chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, weights)
    extend_with(twin, parse_spec(method), default_factor=factor, split=split)
    return twin
