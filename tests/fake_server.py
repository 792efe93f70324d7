"""A server in a thread that speaks as one engine does, over a real model under a known encoding."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from torch import Tensor

Predict = Callable[[Tensor], Tensor]
"""Tokens ``[n]`` to log-probabilities ``[n, vocabulary]``."""
Answer = Callable[[BaseHTTPRequestHandler], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the function that its server holds."""

    def do_GET(self) -> None:
        self.server.answer(self)

    def do_POST(self) -> None:
        self.server.answer(self)

    def log_message(self, *given: Any) -> None:
        return None

    def body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def send(self, content: Any, status: int = 200, kind: str = "application/json") -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return None  # a client that went away


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The URL of a server that answers by ``answer``."""
    server = _Quiet(("127.0.0.1", 0), Handler)
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Engine:
    """The request forms of one engine, as ``/v1/models`` and its own paths know them.

    asked  bodies that came, in order
    """

    owner: str
    predict: Predict
    context: int = 4096
    ends: int = -1
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    def __call__(self, handler: Handler) -> None:
        if handler.command == "GET":
            handler.send(self.facts(handler.path))
            return
        body = handler.body()
        self.asked.append(body)
        found = self.answer(handler.path, body)
        handler.send(
            {"error": "unknown"} if found is None else found, 404 if found is None else 200
        )

    def facts(self, path: str) -> Any:
        if path == "/props":
            return {"default_generation_settings": {"n_ctx": self.context}}
        return {"data": [{"id": "m", "owned_by": self.owner, "max_model_len": self.context}]}

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    def told(self, ids: list[int]) -> list[float]:
        """Of tokens 1 .. n - 1, each given those before it."""
        logprobs = self.predict(torch.tensor(ids))
        return logprobs[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()

    def ranks(self, ids: list[int]) -> list[int]:
        """Of the same tokens, 1 for the likeliest."""
        logprobs = self.predict(torch.tensor(ids))[:-1]
        own = logprobs.gather(-1, torch.tensor(ids[1:])[:, None])
        return (1 + (logprobs > own).sum(dim=-1)).tolist()

    def best(self, ids: list[int]) -> list[tuple[float, int]]:
        """The likeliest token in the place of each of the same tokens, and its log-probability."""
        values, tokens = self.predict(torch.tensor(ids))[:-1].max(dim=-1)
        return list(zip(values.tolist(), tokens.tolist(), strict=True))

    def taken(self, ids: list[int], count: int) -> list[int]:
        """By greedy decoding, at most ``count`` tokens; ``ends`` ends it."""
        found: list[int] = []
        while len(found) < count and self.ends not in found:
            found.append(int(self.predict(torch.tensor([*ids, *found]))[-1].argmax()))
        return found


class VLLM(Engine):
    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/completions" and body.get("return_token_ids"):
            taken = self.taken(body["prompt"], body["max_tokens"])
            return {"choices": [{"text": "x", "token_ids": taken}]}
        if path != "/v1/completions" or body.get("prompt_logprobs") != 0:
            return None
        ids = body["prompt"]
        pairs = zip(ids[1:], self.told(ids), strict=True)
        ranks = self.ranks(ids)
        rows = [
            {str(one): {"logprob": value, "rank": rank}}
            for (one, value), rank in zip(pairs, ranks, strict=True)
        ]
        return {"choices": [{"text": "x", "prompt_logprobs": [None, *rows]}]}


class StrictVLLM(VLLM):
    """Answers 400 to a prompt with a log-probability that is no number, as vLLM 0.32.0 does.

    And to the two prompts after one, if they have more than 16 tokens: its cache holds NaN.
    """

    spoiled = 0

    def __call__(self, handler: Handler) -> None:
        if handler.command == "GET":
            super().__call__(handler)
            return
        body = handler.body()
        self.asked.append(body)
        found = self.answer(handler.path, body)
        wrong = "NaN" in json.dumps(found)
        spoiled, self.spoiled = self.spoiled, 2 if wrong else max(0, self.spoiled - 1)
        if wrong or (spoiled and len(body["prompt"]) > 16):
            handler.send({"error": "Out of range float values are not JSON compliant"}, 400)
        else:
            handler.send(found)


class SGLang(Engine):
    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/generate" or not body.get("return_logprob"):
            return None
        ids, sampling = body["input_ids"], body["sampling_params"]
        if body["logprob_start_len"] == -1:
            taken = self.taken(ids, sampling["max_new_tokens"])
            return {"meta_info": {"output_token_logprobs": [[-0.5, one, None] for one in taken]}}
        pairs = zip([None, *self.told(ids)], ids, strict=True)
        meta = {"input_token_logprobs": [[v, i, None] for v, i in pairs]}
        if body.get("top_logprobs_num") == 1:
            best = [[[value, one, None]] for value, one in self.best(ids)]
            meta["input_top_logprobs"] = [None, *best]
        return {"text": "x", "meta_info": meta}


class LlamaCpp(Engine):
    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/completion":
            return None
        if body.get("return_tokens"):
            return {"content": "x", "tokens": self.taken(body["prompt"], body["n_predict"])}
        last = self.predict(torch.tensor(body["prompt"]))[-1]
        top = last.topk(min(body["n_probs"], len(last)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        listed = [{"id": one, "token": "x", "logprob": value} for one, value in pairs]
        return {"content": "x", "completion_probabilities": [{"top_logprobs": listed}]}


@dataclass
class Echoing(Engine):
    """``texts`` makes text of what it takes."""

    texts: Any = None

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/completions":
            return None
        if not body.get("echo"):
            taken = self.taken(body["prompt"], body["max_tokens"])
            return {"choices": [{"text": self.texts.decode(taken)}]}
        told = [None, *self.told(body["prompt"]), -0.5]
        best = [{"x": value} for value, _ in self.best(body["prompt"])]
        logprobs = {"token_logprobs": told, "top_logprobs": [None, *best, {"x": -0.5}]}
        return {"choices": [{"text": "x", "logprobs": logprobs}]}


class Embeds(Engine):
    """``predict`` makes an embedding of the tokens."""

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/embeddings":
            return None
        vector = self.predict(torch.tensor(body["input"]))
        return {"data": [{"embedding": vector.tolist(), "index": 0}]}


@dataclass
class GreedyText(Engine):
    """Takes text alone and ignores ``echo`` and ``logprobs``, as ``transformers serve`` does."""

    texts: Any = None

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if not isinstance(body["prompt"], str):
            return None
        ids = self.texts.encode(body["prompt"], add_special_tokens=False)
        one = int(self.predict(torch.tensor(ids))[-1].argmax())
        return {"choices": [{"text": self.texts.decode([one])}]}


ENGINES = {
    "vllm": (VLLM, "vllm"),
    "sglang": (SGLang, "sglang"),
    "llama.cpp": (LlamaCpp, "llamacpp"),
    "openai": (Echoing, "someone"),
}
