"""verify --served: which encoding does a running server compute?

A server tells log-probabilities along a text, or of an encoder embeddings of its prefixes; the
local model makes the same under what was asked, under what engines are known to do instead, and
under other methods.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ropewalk.api.checkpoints import open_checkpoint
from ropewalk.configs.shape import read_model
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_book
from ropewalk.evaluation.documents import Document as Text
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.integrations.endpoints.heard import Heard, HeardEmbeddings, HeardTokens
from ropewalk.integrations.endpoints.server import SECONDS, Server
from ropewalk.integrations.endpoints.table import connect
from ropewalk.integrations.installation import install
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.integrations.session import config_of
from ropewalk.methods.by_layer import Encode
from ropewalk.methods.spec import NATIVE, parse_spec
from ropewalk.verification.checks import SHORTEST, default_length
from ropewalk.verification.served.document import Document, Served, document
from ropewalk.verification.served.judging import Progress, judged
from ropewalk.verification.served.offer import Offer

_TRAINED_LENGTHS, _MOST_TOKENS = 4, 4096
"""The default length: as many trained lengths, at most as many tokens or ``default_length``."""


def verify_served(
    source: str | Path | None,
    url: str,
    *,
    engine: str | None = None,
    method: str = NATIVE,
    length: int | str | None = None,
    text: str | Path | None = None,
    seconds: float = SECONDS,
    dtype: str = "float32",
    device: str | None = None,
    progress: Progress = lambda work, share: None,
) -> Document:
    """What a running server computes: the document of ``ropewalk verify --served --json``.

    source   the checkpoint that the server serves, as MODEL on the command line
    url      the server; its key, if it wants one, is read from ROPEWALK_API_KEY
    engine   vllm, sglang, llama.cpp or openai; None: what ``/v1/models`` says
    method   what it should compute; by default what the config says
    length   tokens of the prompt; by default what the server admits, at most four trained lengths
    text     a UTF-8 file; by default the bundled book, random tokens without a tokenizer
    seconds  time of one request, retries included

    Returns ``engine``, ``asked``, ``verdict`` (a candidate's name, or "cannot tell"),
    ``departs_at``, ``candidates``, ``finding``, and beside them ``model``, ``trained_length``,
    ``length``, ``told``, ``positions``, ``undefined``, ``sentence``, ``passed``. Raises
    RopewalkError for bad input, and for a server that cannot be asked.
    """
    spec = parse_spec(method)
    server = Server.at(url, seconds)
    endpoint = connect(server, engine)  # a mistyped URL is answered before weights are loaded
    loaded = open_checkpoint(source, dtype=dtype, device=device)
    endpoint = replace(endpoint, texts=loaded.tokenizer)
    trained = read_model(config_of(loaded.model)).rope().trained_length
    admitted = endpoint.admitted
    tokens = _length(length, trained, admitted)
    ids = _ids(loaded, text, tokens)
    offer = Offer.of(read_model(config_of(loaded.model)), spec, len(ids), admitted)
    predictor = TransformersPredictor(model=loaded.model, name=loaded.name, trained_length=trained)

    def asking(share: float) -> None:
        progress("asking the server", share)

    with install(loaded.model, offer.asked, offer.native) as extension:
        heard: Heard
        if extension.both_ways:
            heard = HeardEmbeddings.of(endpoint, ids, predictor, asking)
            how = f"embeddings of {len(heard.rows)} prefixes ({heard.pooling.name} of the states)"
        else:
            heard, how = HeardTokens.of(endpoint, ids, asking), endpoint.how

        def differences(encode: Encode) -> Tensor:
            extension.swap(encode, extension.length)
            return heard.differences(predictor)

        judgement = judged(offer, differences, heard.unit, heard.rows, progress)
    served = Served(
        engine=endpoint.engine,
        how=how,
        model=loaded.name,
        shape=offer.shape,
        asked=spec.text,
        length=len(ids),
        trained_length=trained,
        rows=heard.rows,
    )
    return document(served, judgement)


def _length(length: int | str | None, trained: int, admitted: int | None) -> int:
    """Tokens of the prompt; RopewalkError for fewer than 16 and for more than are admitted."""
    if length is None:
        wanted = min(_TRAINED_LENGTHS * trained, max(_MOST_TOKENS, default_length(trained)))
        tokens = wanted if admitted is None else min(wanted, admitted)
    else:
        tokens = length_in_tokens(length, trained)
        if admitted is not None and tokens > admitted:
            raise RopewalkError(
                f"length {tokens:,}: the server admits prompts of at most {admitted:,} tokens; "
                "ask for fewer, or start it with a longer context"
            )
    if tokens < SHORTEST:
        raise RopewalkError(f"length {tokens}: expected at least {SHORTEST} tokens")
    return tokens


def _ids(loaded: LoadedModel, text: str | Path | None, tokens: int) -> Tensor:
    """The first ``tokens`` of the text, or random ones without a tokenizer."""
    if loaded.tokenizer is None and text is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(loaded.model.config.vocab_size, (tokens,), generator=generator)
    path = demo_book() if text is None else Path(text)
    ids = Text.read(path, loaded.require_tokenizer()).ids
    if len(ids) < tokens:
        raise RopewalkError(
            f"{path}: {len(ids):,} tokens, expected at least {tokens:,}; give a longer --text, or "
            "a shorter --length"
        )
    return ids[:tokens]
