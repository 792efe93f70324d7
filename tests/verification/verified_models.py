"""Small models to verify, and their records by method."""

from recipes.families.sharpened import L0, tiny
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.verification.listening import Silent

LENGTH, SHORT = 48, 40
"""Defaults for a trained length of 32: 16 tokens beyond it, and half of that."""


DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}


class Heard(Silent):
    """A listener that hands on how far the work is."""

    def __init__(self, working):
        self.working = working


def small(name="llama", **settings):
    """Two layers are enough for a stale key to reach a logit."""
    return tiny(name, **{"num_hidden_layers": 2, **settings})


def predictor(model):
    return TransformersPredictor(model=model, name="tiny", trained_length=L0)


def by_method(records):
    """method -> check -> record."""
    found = {}
    for record in records:
        found.setdefault(record["method"], {})[record["check"]] = record
    return found


def statuses(records):
    return {check: record["status"] for check, record in records.items()}


def figure(record):
    return record["max_logit_difference"]
