"""verify --served: which encoding does a running server compute?

A server tells log-probabilities along a text, or of an encoder embeddings of its prefixes; the
local model makes the same under what was asked, under what engines are known to do instead, and
under other methods.
"""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ropewalk.configs.shape import read_model
from ropewalk.evaluation.request import length_in_tokens
from ropewalk.integrations.endpoints.heard import Heard, HeardEmbeddings, HeardTokens
from ropewalk.integrations.endpoints.server import SECONDS, Server
from ropewalk.integrations.endpoints.table import connect
from ropewalk.integrations.installation import install
from ropewalk.integrations.predictor import TransformersPredictor
from ropewalk.integrations.session import config_of
from ropewalk.methods.by_layer import Encode
from ropewalk.methods.spec import NATIVE, parse_spec
from ropewalk.opening.checkpoints import open_checkpoint
from ropewalk.opening.texts import first_tokens
from ropewalk.verification.served.document import Document, Inquiry, document
from ropewalk.verification.served.judging import Progress, judged
from ropewalk.verification.served.length import prompt_length
from ropewalk.verification.served.offer import Offer


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
    shape, admitted = read_model(config_of(loaded.model)), endpoint.admitted
    trained = shape.rope().trained_length
    wanted = None if length is None else length_in_tokens(length, trained)
    ids = first_tokens(loaded, text, prompt_length(wanted, trained, admitted))
    offer = Offer.of(shape, spec, len(ids), admitted)
    predictor = TransformersPredictor(model=loaded.model, name=loaded.name, trained_length=trained)

    def asking(share: float) -> None:
        progress("asking the server", share)

    with install(loaded.model, offer.asked, offer.native) as extension:
        heard: Heard
        if extension.both_ways:
            heard = HeardEmbeddings.of(endpoint, ids, predictor, asking)
        else:
            heard = HeardTokens.of(endpoint, ids, asking)

        def differences(encode: Encode) -> Tensor:
            extension.swap(encode, extension.length)
            return heard.differences(predictor)

        judgement = judged(offer, differences, heard.unit, heard.rows, progress)
    served = Inquiry(
        engine=endpoint.engine,
        how=heard.how,
        model=loaded.name,
        shape=shape,
        asked=spec.text,
        length=len(ids),
        trained_length=trained,
        rows=heard.rows,
    )
    return document(served, judgement)
