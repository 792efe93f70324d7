"""Planted faults are seen by a task on the toy model, with intervals that do not touch."""

from contextlib import contextmanager

import pytest

import ropewalk as rw
from ropewalk.core.passes import FullPass
from ropewalk.data import toy_model
from ropewalk.evaluation.tasks.retrieval import Retrieval
from ropewalk.evaluation.tasks.table import Materials, generator
from ropewalk.evaluation.tasks.tokens import Tokens
from ropewalk.integrations.loading import load_model
from ropewalk.integrations.reader import TransformersReader
from ropewalk.integrations.scoring import TransformersScorer

TRIALS = 20
TRAINED = 256


@pytest.fixture(scope="module")
def toy():
    return load_model(toy_model())


def forced(toy, task, length, model=None):
    """The figures of teacher forcing, of the toy model as it stands or of a faulty one."""
    materials = Materials(tokens=Tokens.of(toy.require_tokenizer()), texts=())
    made = Retrieval(generator=generator(task, materials), tokens=materials.tokens, trials=TRIALS)
    units = made.units(
        model or TransformersScorer(toy.model),
        (length,),
        FullPass(),
        batch=TRIALS,
        advance=lambda cost: None,
    )
    return made.fields(units[length])["forced"]


def assert_disjoint(right, wrong):
    """The loss is lower, and the intervals do not touch."""
    assert right["ci95"]["loss"][1] < wrong["ci95"]["loss"][0]


@pytest.mark.parametrize("task", ["induction", "key_value"])
def test_the_toy_model_retrieves_what_it_was_trained_to(toy, task):
    figures = forced(toy, task, TRAINED)
    assert figures["rank_1"] >= 0.9
    assert figures["ci95"]["rank_1"][0] > 0.25  # by chance


@pytest.mark.parametrize("task", ["induction", pytest.param("key_value", marks=pytest.mark.slow)])
def test_keys_frozen_at_birth_are_seen(toy, task):
    with rw.extend(toy.model, "dynamic_ntk"):
        right = forced(toy, task, 4 * TRAINED)
    with rw.extend(toy.model, "dynamic_ntk:policy=at_birth"):
        wrong = forced(toy, task, 4 * TRAINED)
    assert_disjoint(right, wrong)


@pytest.mark.parametrize("task", ["induction", "key_value"])
def test_a_softmax_scale_that_is_applied_twice_is_seen(toy, task):
    right = forced(toy, task, TRAINED)
    with _scaled_twice(toy.model):
        wrong = forced(toy, task, TRAINED)
    assert_disjoint(right, wrong)
    assert right["ci95"]["rank_1"][0] > wrong["ci95"]["rank_1"][1]


@contextmanager
def _scaled_twice(model):
    modules = [layer.self_attn for layer in model.model.layers]
    before = [module.scaling for module in modules]
    for module, scale in zip(modules, before, strict=True):
        module.scaling = scale**2
    try:
        yield
    finally:
        for module, scale in zip(modules, before, strict=True):
            module.scaling = scale


class Forgetful:
    """The first half of the cache is gone before the answer."""

    def __init__(self, model):
        self.model = model

    def read(self, prompts, split):
        reader = TransformersReader(self.model, prompts, split)
        for layer in reader._cache.layers:
            half = layer.keys.shape[2] // 2
            layer.keys, layer.values = layer.keys[:, :, half:], layer.values[:, :, half:]
        return reader


def test_half_a_cache_that_is_dropped_is_seen(toy):
    """By ``induction``: the one token of ``key_value`` comes out of the prompt's own call."""
    right = forced(toy, "induction", TRAINED)
    assert_disjoint(right, forced(toy, "induction", TRAINED, Forgetful(toy.model)))


@pytest.mark.slow
def test_a_method_that_keeps_near_distances_retrieves_where_plain_rope_does_not(toy):
    plain = forced(toy, "key_value", 4 * TRAINED)
    for spec in ("yarn:factor=4", "self_extend:group_size=8,window=128"):
        with rw.extend(toy.model, spec):
            assert_disjoint(forced(toy, "key_value", 4 * TRAINED), plain)
