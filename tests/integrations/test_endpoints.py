"""A server may do anything: what it says is read whole or refused, in time and in one line."""

import time

import pytest
import torch
from torch.testing import assert_close

from fake_server import (
    ENGINES,
    VLLM,
    GreedyText,
    LlamaCpp,
    SGLang,
    serving,
)
from ropewalk.core.errors import RopewalkError
from ropewalk.core.observation import ToldLogprobs, ToldTokens
from ropewalk.integrations.endpoints import server as limits
from ropewalk.integrations.endpoints.server import KEY_VARIABLE, Server
from ropewalk.integrations.endpoints.table import connect

IDS = torch.arange(3, 43)
VOCABULARY = 50
KEY = "sk-not-to-be-shown"


def predict(ids):
    """Made-up log-probabilities that depend on the token alone."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(VOCABULARY, VOCABULARY, generator=generator, dtype=torch.float64)
    return table.log_softmax(dim=-1)[ids]


def observed(kind, owner, **options):
    with serving(kind(owner, predict)) as url:
        return connect(Server.at(url, 20.0), **options).observe(IDS, lambda share: None)


class Logits:
    """What ``predict`` says, as a local model."""

    def logits(self, start, stop):
        return predict(IDS)[start:stop]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_is_found_by_its_models_and_read_in_its_own_form(engine):
    kind, owner = ENGINES[engine]
    with serving(kind(owner, predict)) as url:
        endpoint = connect(Server.at(f"{url}/v1/", 20.0))
        assert endpoint.engine == engine
        told = endpoint.observe(IDS, lambda share: None)
    assert_close(told.differences(Logits()), torch.zeros_like(told.logprobs), rtol=0, atol=1e-12)
    assert told.rows.tolist() == sorted(set(told.rows.tolist()))


def test_a_prompt_of_n_tokens_gives_its_last_n_minus_one():
    told = observed(VLLM, "vllm")
    assert told.rows.tolist() == list(range(len(IDS) - 1))
    assert told.ids[:, 0].tolist() == IDS[1:].tolist()


def test_llama_cpp_is_asked_at_fourteen_prefixes_with_the_whole_as_the_last():
    told = observed(LlamaCpp, "llamacpp")
    assert isinstance(told, ToldLogprobs)
    assert told.ids.shape == (14, 20)
    assert int(told.rows[-1]) == len(IDS) - 1


class Letters:
    """A tokenizer of one character a token."""

    def decode(self, ids):
        return "".join(chr(97 + one) for one in ids)

    def encode(self, text, *, add_special_tokens):
        return [ord(letter) - 97 for letter in text]


def test_a_server_that_takes_text_alone_is_asked_for_greedy_tokens():
    texts = Letters()
    with serving(GreedyText("someone", predict, texts=texts)) as url:
        told = connect(Server.at(url, 20.0), texts=texts).observe(IDS, lambda share: None)
    assert isinstance(told, ToldTokens)
    assert float(told.differences(Logits()).max()) == 0.0

    class Other:
        def logits(self, start, stop):
            return -predict(IDS)[start:stop]

    assert float(told.differences(Other()).mean()) > 1.0


def test_greedy_text_needs_a_tokenizer():
    with pytest.raises(RopewalkError, match="needs the model's tokenizer"):
        observed(GreedyText, "someone")


def test_numbers_that_are_none_are_told_as_nan():
    class Holes(VLLM):
        def told(self, ids):
            return [None, float("nan"), *super().told(ids)[2:]]

    assert observed(Holes, "vllm").logprobs[:3].isnan().flatten().tolist() == [True, True, False]


def test_the_named_engine_wins_over_what_the_server_says():
    assert isinstance(observed(LlamaCpp, "vllm", engine="llama.cpp"), ToldLogprobs)


def changed(base, change):
    return type("Liar", (base,), {"answer": lambda self, *given: change(base.answer(self, *given))})


@pytest.mark.parametrize(
    ("kind", "owner", "change", "said"),
    [
        (VLLM, "vllm", lambda answer: {}, "no choices.0"),
        (VLLM, "vllm", lambda answer: [1], "no choices"),
        (VLLM, "vllm", lambda answer: {"choices": [{"prompt_logprobs": [None]}]}, "another prompt"),
        (SGLang, "sglang", lambda answer: {"meta_info": {}}, "no meta_info.input_token_logprobs"),
        (
            SGLang,
            "sglang",
            lambda answer: {"meta_info": {"input_token_logprobs": [[-1.0, 7, None]] * len(IDS)}},
            "another prompt",
        ),
        (LlamaCpp, "llamacpp", lambda answer: {"completion_probabilities": []}, "has no"),
        (
            LlamaCpp,
            "llamacpp",
            lambda answer: {"completion_probabilities": [{"top_logprobs": []}]},
            "without log-probabilities",
        ),
        (
            LlamaCpp,
            "llamacpp",
            lambda answer: {
                "completion_probabilities": [{"top_logprobs": [{"id": 3, "logprob": 2.0}]}]
            },
            "none above 0",
        ),
    ],
)
def test_an_answer_of_another_form_is_refused(kind, owner, change, said):
    with pytest.raises(RopewalkError, match=said) as refused:
        observed(changed(kind, change), owner)
    assert "\n" not in str(refused.value)


def hangs(handler):
    time.sleep(30)


def drips(handler):
    """A byte now and then, forever: no single read takes long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def floods(handler):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65536)


def closes(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True


def says_nothing(handler):
    handler.close_connection = True


def fails(handler):
    handler.send({"error": f"out of memory\nwith key {KEY}"}, 500)


def computes_nan(handler):
    handler.send({"error": "Out of range float values are not JSON compliant"}, 500)


def refuses(handler):
    handler.send({"error": f"no such key: {handler.headers['Authorization']}"}, 401)


def redirects(handler):
    handler.send_response(302)
    handler.send_header("Location", "http://elsewhere.example/v1/models")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def speaks_html(handler):
    handler.send(b"<html><body>Welcome\x1b[31m</body></html>", kind="text/html")


def nests(handler):
    handler.send(b"[" * 200_000)


RUDE = [
    (hangs, "no answer within 2 s"),
    (drips, "no answer within 2 s"),
    (floods, "more than 1 MiB"),
    (closes, "closed in the middle"),
    (says_nothing, "closed in the middle"),
    (fails, "answered 500"),
    (computes_nan, "it computes NaN; ask for a shorter --length"),
    (refuses, "answered 401"),
    (redirects, "redirects to http://elsewhere.example/v1/models"),
    (speaks_html, "expected JSON, the answer is text/html"),
    (nests, "expected JSON"),
]


@pytest.mark.parametrize(("answer", "said"), RUDE)
def test_a_rude_server_is_one_line_in_time(answer, said, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setattr(limits, "MOST_BYTES", 2**20)
    begun = time.monotonic()
    with serving(answer) as url, pytest.raises(RopewalkError, match=said) as refused:
        connect(Server.at(url, 2.0))
    assert time.monotonic() - begun < 8
    told = str(refused.value)
    assert "\n" not in told
    assert "\x1b" not in told
    assert KEY not in told


def test_a_server_that_is_busy_at_first_is_asked_again():
    tries = []

    def busy(handler):
        tries.append(handler.path)
        if len(tries) < 3:
            handler.send({"error": "loading"}, 503)
        else:
            handler.send({"data": [{"id": "m", "owned_by": "vllm"}]})

    with serving(busy) as url:
        assert connect(Server.at(url, 20.0)).engine == "vllm"
    assert len(tries) == 3


def test_a_refusal_is_not_asked_again():
    tries = []

    def refusing(handler):
        tries.append(handler.path)
        handler.send({"error": "no"}, 404)

    with serving(refusing) as url, pytest.raises(RopewalkError, match="404"):
        connect(Server.at(url, 20.0))
    assert len(tries) == 1


def test_the_key_goes_out_as_a_bearer_token_and_is_in_no_repr(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    seen = []

    def answer(handler):
        seen.append(handler.headers["Authorization"])
        handler.send({"data": [{"id": "m"}]})

    with serving(answer) as url:
        server = Server.at(url)
        connect(server)
    assert seen == [f"Bearer {KEY}"]
    assert KEY not in repr(server)


def test_without_a_key_nothing_is_sent(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    seen = []

    def answer(handler):
        seen.append(handler.headers["Authorization"])
        handler.send({"data": [{"id": "m"}]})

    with serving(answer) as url:
        connect(Server.at(url))
    assert seen == [None]
