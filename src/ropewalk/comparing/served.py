"""What ``compare --served`` measures: losses and tasks of a running server.

The server computes one method, the one that it was started with; the config and the tokenizer of
the checkpoint that it serves are read, its weights are not.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from ropewalk.cluster.placing import NO_DEMAND
from ropewalk.comparing.longppl import long_perplexity
from ropewalk.comparing.origin import document_config
from ropewalk.comparing.request import CompareRequest, ServedWords
from ropewalk.comparing.setup import Setup, material
from ropewalk.core.errors import RopewalkError
from ropewalk.core.geometry import RopeGeometry
from ropewalk.data import demo_model
from ropewalk.evaluation.folders import default_run_folder
from ropewalk.evaluation.request import DEFAULT_MULTIPLES, Request, read_lengths, read_tasks
from ropewalk.evaluation.run import Run
from ropewalk.evaluation.tasks.longppl import LONGPPL, longppl
from ropewalk.integrations.endpoints.endpoint import Endpoint
from ropewalk.integrations.endpoints.served_model import ServedModel, ServedSource
from ropewalk.integrations.loading import load_config
from ropewalk.methods.from_config import native_encoding
from ropewalk.methods.spec import NATIVE
from ropewalk.opening.checkpoints import open_checkpoint
from ropewalk.opening.shapes import shape_of


def set_up_served(asked: CompareRequest, words: ServedWords) -> Setup:
    """A server that answers, and the run. Raises RopewalkError for bad input."""
    if asked.ranks is not None:
        raise RopewalkError("a server beside ranks: expected one of the two; drop torchrun")
    place = asked.place or demo_model()
    if isinstance(place, nn.Module):
        raise RopewalkError("a loaded model beside a server: expected the place of a checkpoint")
    source = ServedSource(url=words.url, place=place, engine=words.engine, seconds=words.seconds)
    endpoint = source.open().endpoint
    config = load_config(place)
    native = native_encoding(shape_of(config).rope())
    request = _request(asked.request, native.geometry, endpoint)
    model = ServedModel(endpoint)
    run = Run.of(
        request,
        native.geometry,
        native,
        name=f"{endpoint.model} on {endpoint.engine}",
        weights=_identity(endpoint, config),
        dtype="as served",
        **material(endpoint.texts, request, asked.materials),
    )
    if LONGPPL.name in read_tasks(request.tasks):
        run = run.with_task(_long_perplexity(run, model, asked))
    return Setup(
        source=source,
        run=run,
        run_dir=asked.out or default_run_folder(f"{endpoint.model}-served", request.protocol),
        choice=None,
        timed=lambda: run.cost_model(model),
        demand=NO_DEMAND,
        sign=lambda folder: document_config(folder, config, None),
    )


def _request(request: Request, geometry: RopeGeometry, endpoint: Endpoint) -> Request:
    """One method; by default lengths that the server admits.

    Raises RopewalkError for several methods or another mode, and for a server that admits fewer
    tokens than the shortest default length.
    """
    methods = [line.method for line in request.lines] or list(request.methods) or [NATIVE]
    if len(set(methods)) > 1:
        raise RopewalkError(
            f"--method {methods[1]} of a running server: it computes the one method that it was "
            "started with; name that one, or none"
        )
    if request.lengths or request.lines:
        return replace(request, methods=() if request.lines else methods)
    trained, admitted = geometry.trained_length, endpoint.admitted
    every = read_lengths(DEFAULT_MULTIPLES, trained)
    lengths = [length for length in every if admitted is None or length <= admitted]
    if not lengths:
        raise RopewalkError(
            f"the server admits {admitted:,} tokens, less than {every[0]:,}: start it with a "
            "longer context, or ask for a --length"
        )
    return replace(request, methods=methods, lengths=lengths)


def _long_perplexity(run: Run, model: ServedModel, asked: CompareRequest) -> Any:
    """Key tokens found by an evaluator here, or by the server at its trained length."""
    evaluator = asked.materials.evaluator
    if evaluator is None:
        setting = run.setting
        return longppl(setting.task, model, setting.trained_length, setting.weights[:16])
    by = open_checkpoint(evaluator, dtype=asked.dtype, device=asked.device)
    return long_perplexity(run.setting, by, asked.materials.files)


def _identity(endpoint: Endpoint, config: Mapping[str, Any]) -> str:
    """Of what can be known of a server: where it is and what it says that it serves. Its weights
    and flags cannot be seen."""
    known = [endpoint.server.url, endpoint.engine, endpoint.model, dict(config)]
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
