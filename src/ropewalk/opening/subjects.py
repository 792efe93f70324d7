"""A checkpoint as a search takes it, and a model as verification does."""

from pathlib import Path

from torch import nn

from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.methods import TransformersMethods
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.integrations.session import config_of, native_of, trained_length_of
from ropewalk.integrations.wrappers import measured
from ropewalk.methods.spec import Spec
from ropewalk.opening.checkpoints import CheckpointSource, identity, open_checkpoint
from ropewalk.opening.shapes import shape_of
from ropewalk.searching.measured.contestants import Subject as SearchSubject
from ropewalk.verification.checks import Sample, default_length
from ropewalk.verification.subject import Subject as VerifySubject


def search_subject(source: str | Path | None, dtype: str, device: str | None) -> SearchSubject:
    """Raises RopewalkError for a checkpoint that cannot be loaded, and as ``search_subject_of``."""
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    return search_subject_of(loaded, source, dtype, device)


def search_subject_of(
    loaded: LoadedModel, source: str | Path | None, dtype: str, device: str | None
) -> SearchSubject:
    """Of a checkpoint that is open already.

    Raises RopewalkError for one without a tokenizer, and for one whose method no config says: a
    schedule would take its place, and nothing would be measured of the model as it ships.
    """
    if loaded.method is not None:
        raise RopewalkError(
            f"{loaded.name} states {loaded.method.text} in ropewalk.json, and a searched schedule "
            "would take its place: expected a checkpoint whose config.json says what it does; "
            "search the model that it was made of"
        )
    return SearchSubject(
        name=loaded.name,
        weights=identity(loaded),
        dtype=dtype,
        geometry=shape_of(config_of(loaded.model)).rope().geometry(),
        native=native_of(loaded.model),
        tokenizer=loaded.require_tokenizer(),
        model=TransformersScorer(loaded.model),
        source=CheckpointSource(place=source, dtype=dtype, device=device, loaded=loaded),
    )


def verify_subject(
    model: nn.Module, length: int | str | None, name: str = "", own: Spec | None = None
) -> VerifySubject:
    """own  what ``native`` stands for, where the checkpoint says it beside its config

    Raises RopewalkError for a model that is extended or lacks rope fields, and for a length that
    is too short.
    """
    model = measured(model)
    methods = TransformersMethods(model)
    shape = read_model(config_of(model))
    trained = trained_length_of(model)
    tokens = default_length(trained) if length is None else length_in_tokens(length, trained)
    predictor = TransformersPredictor(model=model, name=name, trained_length=trained)
    return VerifySubject(
        predictor=predictor,
        methods=methods,
        family=str(shape.config.get("model_type", type(model).__name__)),
        sample=Sample.of(predictor, tokens),
        own=own,
    )
