"""Measuring from Python: words to values, losses, shared passes, runs that are killed."""

import json
import math
import multiprocessing
import os
import pickle
import pydoc
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

import ropewalk as rw
from recipes.families.sharpened import L0, logits, tiny, token_ids
from ropewalk.cli.compare_options import ProtocolName
from ropewalk.core.passes import ChunkedPass, DecodePass, FullPass
from ropewalk.evaluation.documents import Document
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.protocols.table import PROTOCOLS, read_protocol
from ropewalk.evaluation.request import Line, length_in_tokens, read_lengths, read_mode
from ropewalk.evaluation.worker import Worker
from ropewalk.opening.checkpoints import open_checkpoint
from ropewalk.training.corpus import train_tokenizer

PROBES = (1, 24)
"""Tokens of the passes with which ``extend`` looks at a model."""
TAIL, WINDOWS = 8, 2


@pytest.fixture(scope="module")
def llama():
    return tiny(num_hidden_layers=2, vocab_size=300)


@pytest.fixture(scope="module")
def text():
    """About a thousand tokens of sentences that are not all alike, with letters of many bytes."""
    words = ("rope", "öfter —", "lies long upon", "the walk;", "hemp 麻", "tar", "🪢", "turn")
    draw = random.Random(0)
    return "\n".join(" ".join(draw.choices(words, k=9)) + "." for _ in range(110))


@pytest.fixture(scope="module")
def tokenizer(text, tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "text.txt"
    file.write_text(text, encoding="utf-8")
    return PreTrainedTokenizerFast(tokenizer_object=train_tokenizer([file], 300))


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A model folder as a user has it."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny(num_hidden_layers=2, vocab_size=300, dtype=torch.float32).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


# Words to values.


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ([64, "16", "2x"], (16, 64)),
        (["0.5x", "1x", 7], (7, 16, 32)),
        ([], (16, 32, 64, 128, 256)),
        (["1.02x"], (33,)),
    ],
)
def test_lengths_are_tokens_or_multiples_in_order_and_once(given, tokens):
    assert read_lengths(given, L0) == tokens


@pytest.mark.parametrize(
    "word", ["", "x", "two", "1", 1, 0, -5, "-2x", "0.01x", "nanx", "infx", "1e400x", "3.5"]
)
def test_words_that_are_no_length_are_refused(word):
    with pytest.raises(rw.RopewalkError, match=r"^length .*expected"):
        length_in_tokens(word, L0)


def test_modes_are_passes():
    assert [read_mode(word) for word in ("full", "decode", "chunked:512")] == [
        FullPass(),
        DecodePass(),
        ChunkedPass(512),
    ]


@pytest.mark.parametrize(
    "word", ["", "Full", "chunked", "chunked:", "chunked:0", "chunked:-1", "chunked:²", "decode:1"]
)
def test_words_that_are_no_mode_are_refused(word):
    with pytest.raises(rw.RopewalkError, match="chunk"):
        read_mode(word)


def protocol(name, **options):
    given = {
        "trained_length": 2048,
        "windows": 3,
        "tail_tokens": None,
        "stride": None,
        "lengths": (30, 100),
        **options,
    }
    return read_protocol(name, given.pop("trained_length"), **given)


def test_protocols_take_what_is_not_given_from_the_trained_length():
    assert protocol("tail").text == "tail:tokens=512,windows=3"
    assert protocol("curve", tail_tokens=9).text == "curve:tokens=9,windows=3"
    assert protocol("prefix").text == "prefix"
    assert protocol("sliding").text == "sliding:stride=15,tokens=400"
    assert protocol("sliding", lengths=(4096, 9000)).text == "sliding:stride=512,tokens=36000"
    assert protocol("sliding", stride=7).text == "sliding:stride=7,tokens=400"
    assert protocol("tail", trained_length=10**6).text == "tail:tokens=1024,windows=3"
    assert protocol("yarn").text == "yarn:stride=256,tokens=400"
    assert protocol("longrope", stride=64).text == "longrope:stride=64"
    assert protocol("rerope").text == "rerope:tokens=30"
    assert protocol("rerope", lengths=(9000,)).text == "rerope:tokens=4096"


def test_every_protocol_has_the_name_under_which_it_is_asked_for():
    assert [protocol(name).name for name in PROTOCOLS] == list(PROTOCOLS)
    assert [each.value for each in ProtocolName] == list(PROTOCOLS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tails", {}, "expected one of tail, curve, prefix, sliding"),
        ("tail", {"stride": 3}, "stride"),
        ("prefix", {"tail_tokens": 3}, "tail-tokens"),
        ("sliding", {"tail_tokens": 3}, "tail-tokens"),
        ("tail", {"tail_tokens": 0}, "tokens=0"),
        ("tail", {"windows": 0}, "windows=0"),
        ("sliding", {"stride": 0}, "stride=0"),
        ("normxu", {"stride": 3}, "stride"),
        ("pose", {"tail_tokens": 3}, "tail-tokens"),
        ("pose", {"stride": 0}, "stride=0"),
    ],
)
def test_protocols_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(rw.RopewalkError, match=message):
        protocol(name, **options)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dtype": "int8"}, "dtype int8: expected one of float32"),
        ({"device": "cdua"}, "device cdua: torch cannot use it"),
        ({"device": "cuda:99"}, "device cuda:99: torch cannot use it"),
    ],
)
def test_words_for_dtype_and_device_are_checked_before_anything_is_loaded(asked, message):
    with pytest.raises(rw.RopewalkError, match=message):
        open_checkpoint("no/such/place", **asked)


def test_texts_that_cannot_be_read_are_refused(tokenizer, tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("öfter".encode("latin-1"))
    for path, message in ((latin, "not UTF-8"), (tmp_path / "none", "No such file")):
        with pytest.raises(rw.RopewalkError, match=message):
            Document.read(path, tokenizer)


# perplexity, against the model's own logits.


def own_losses(model, ids):
    """-log p of each token but the first."""
    log_probabilities = logits(model, ids[None], use_cache=False)[0].log_softmax(-1)
    return -log_probabilities[:-1].gather(1, ids[1:, None])[:, 0]


def tail_windows(ids, length):
    """The last ``length`` tokens before each window's end: N, N - N // 4."""
    for end in (len(ids), len(ids) - len(ids) // (2 * WINDOWS)):
        yield ids[end - length : end]


def perplexity(model, documents, lengths, **options):
    options = {"windows": WINDOWS, "tail_tokens": TAIL, **options}
    return rw.perplexity(model, documents, lengths, **options)


def test_perplexity_of_ids_is_the_mean_over_all_scored_tokens(llama):
    documents = [token_ids(1, 200, seed=1)[0], token_ids(1, 300, seed=2)[0]]
    records = perplexity(llama, documents, [20, 60])
    assert [record["length"] for record in records] == [20, 60]
    for record in records:
        losses = torch.cat(
            [
                own_losses(llama, window)[-TAIL:]
                for ids in documents
                for window in tail_windows(ids, record["length"])
            ]
        )
        assert record["tokens_scored"] == len(losses) == 2 * WINDOWS * TAIL
        assert record["nll"] == pytest.approx(losses.mean().item(), abs=1e-5)
        assert record["ppl"] == pytest.approx(math.exp(record["nll"]), rel=1e-12)
        assert record["bits_per_byte"] is None
        assert (record["method"], record["mode"], record["status"]) == ("native", "full", "ok")


def test_perplexity_of_text_counts_the_bytes_of_what_it_scored(llama, text, tokenizer):
    """Decoded tokens are the bytes: windows here begin and end between letters."""
    ids = torch.tensor(tokenizer(text)["input_ids"])
    (record,) = perplexity(llama, [text], [60], tokenizer=tokenizer, windows=1, tail_tokens=40)
    scored = ids[-40:]
    size = len(tokenizer.decode(scored).encode())
    total = own_losses(llama, ids[-60:])[-40:].sum().item()
    assert text.endswith(tokenizer.decode(scored))
    assert record["nll"] == pytest.approx(total / 40, abs=1e-5)
    assert record["bits_per_byte"] == pytest.approx(total / math.log(2) / size, abs=1e-5)


def test_text_needs_a_tokenizer(llama):
    with pytest.raises(rw.RopewalkError, match="document 2 is text"):
        perplexity(llama, [token_ids(1, 200)[0], "text"], [20])


def test_an_omitted_factor_is_the_longest_length_over_the_trained_length(llama):
    (ids,) = token_ids(1, 300)
    omitted = perplexity(llama, [ids], [20, 80], methods=["yarn"])
    given = perplexity(llama, [ids], [20, 80], methods=["yarn:factor=2.5"])
    another = perplexity(llama, [ids], [20, 64], methods=["yarn"])
    assert [r["nll"] for r in omitted] == [r["nll"] for r in given]
    assert another[0]["nll"] != omitted[0]["nll"]
    below = perplexity(llama, [ids], [10, 20], methods=["yarn", "none"])
    assert below[0]["nll"] == pytest.approx(below[2]["nll"], abs=1e-12)


def test_a_factor_from_the_length_is_each_cell_s_own(llama):
    (ids,) = token_ids(1, 300)
    records = perplexity(llama, [ids], [20, 48, 80], methods=["yarn:factor=length"])
    for record, factor in zip(records, (1.0, 1.5, 2.5), strict=True):
        (alone,) = perplexity(llama, [ids], [record["length"]], methods=[f"yarn:factor={factor}"])
        assert record["nll"] == alone["nll"]


@pytest.mark.parametrize("mode", ["full", "chunked:7", "decode"])
def test_modes_agree_for_a_method_that_does_not_depend_on_the_path(llama, mode):
    (ids,) = token_ids(1, 300)
    (full,) = perplexity(llama, [ids], [60], methods=["dynamic_ntk"])
    (other,) = perplexity(llama, [ids], [60], methods=["dynamic_ntk"], modes=[mode])
    assert other["mode"] == mode
    assert other["nll"] == pytest.approx(full["nll"], abs=1e-6)


def test_perplexity_leaves_the_model_as_it_was(llama):
    (ids,) = token_ids(1, 100)
    before = logits(llama, ids[None])
    perplexity(llama, [ids], [20], methods=["yarn", "log_n"])
    assert torch.equal(logits(llama, ids[None]), before)
    with pytest.raises(rw.RopewalkError):
        perplexity(llama, [ids], [20], methods=["yarn", "yarns"])
    assert torch.equal(logits(llama, ids[None]), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["yarn", "yarn"]}, "given twice"),
        ({"methods": ["yarm"]}, "did you mean yarn"),
        ({"modes": ["fully"]}, "expected full, stream"),
        ({"protocol": "head"}, "expected one of tail"),
        ({"lengths": [1]}, "at least 2"),
        ({"documents": []}, "document"),
        ({"documents": [torch.zeros(1, dtype=torch.long)]}, "at least 2"),
    ],
)
def test_bad_requests_are_refused(llama, options, message):
    request = {"documents": [token_ids(1, 100)[0]], "lengths": [20], **options}
    with pytest.raises(rw.RopewalkError, match=message):
        perplexity(llama, request.pop("documents"), request.pop("lengths"), **request)


class Passes:
    """Lengths of the sequences that a model was fed, probes of the hook left out."""

    def __init__(self, model):
        self.fed = []
        self.handle = model.model.register_forward_hook(self._see)

    def _see(self, module, args, out):
        if out.last_hidden_state.shape[1] not in PROBES:
            self.fed.append(out.last_hidden_state.shape[1])


@pytest.mark.parametrize(
    ("method", "fed"),
    [
        ("yarn", [80] * WINDOWS),
        ("dynamic_ntk", [80] * WINDOWS),
        ("yarn:factor=length", [20] * WINDOWS + [48] * WINDOWS + [80] * WINDOWS),
        ("dynamic_ntk:policy=whole_sequence", [20] * WINDOWS + [48] * WINDOWS + [80] * WINDOWS),
    ],
)
def test_a_curve_costs_one_pass_where_one_pass_serves_all_lengths(llama, method, fed):
    (ids,) = token_ids(1, 400)
    passes = Passes(llama)
    records = perplexity(llama, [ids], [20, 48, 80], methods=[method], protocol="curve")
    passes.handle.remove()
    assert passes.fed == fed
    spec = "yarn:factor=2.5" if method == "yarn" else method
    for record in records:
        (alone,) = perplexity(llama, [ids], [record["length"]], methods=[spec], protocol="curve")
        assert record["nll"] == pytest.approx(alone["nll"], abs=1e-6)


# A run in a folder, killed.


def timeless(document):
    volatile = ("seconds", "peak_memory_bytes")
    return [{k: v for k, v in cell.items() if k not in volatile} for cell in document["cells"]]


def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(folder, text, tmp_path):
    file, killed = tmp_path / "text.txt", tmp_path / "killed"
    file.write_text(text, encoding="utf-8")
    request = {
        "methods": ["none", "yarn", "dynamic_ntk:step=8"],
        "lengths": [24, 64],
        "modes": ["full", "decode"],
    }
    words = [f"--{name[:-1]}={value}" for name, values in request.items() for value in values]
    command = [sys.executable, "-m", "ropewalk", "compare", str(folder), f"--text={file}"]
    process = subprocess.Popen(
        [*command, f"--out={killed}", "--windows=2", "--json", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    first_cell_within(killed, process, seconds=120)
    time.sleep(random.random() / 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(list((killed / "cells").glob("*.json")))
    resumed = rw.compare(folder, texts=[file], out=killed, windows=2, **request)
    fresh = rw.compare(folder, texts=[file], out=str(tmp_path / "fresh"), windows=2, **request)
    cells = len(request["methods"]) * len(request["lengths"]) * len(request["modes"])
    assert 0 < done <= cells
    assert len(fresh.document["cells"]) == cells
    assert timeless(resumed.document) == timeless(fresh.document)
    assert resumed.document["differences"] == fresh.document["differences"]
    assert not list(killed.glob("**/*.partial"))
    written = json.loads((killed / "results.json").read_text(encoding="utf-8"))
    assert timeless(written) == timeless(fresh.document)


def environment():
    source = Path(rw.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def first_cell_within(run_dir, process, seconds):
    """Wait until the run has something to lose."""
    deadline = time.monotonic() + seconds
    while not list((run_dir / "cells").glob("*.json")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def measured_elsewhere(sent: bytes) -> bytes:
    with Worker(Silent()) as worker:
        return pickle.dumps([each.record() for each in worker.measure(pickle.loads(sent))])


class AnotherProcess:
    """Measures each job a second time, in a process that has nothing but its bytes."""

    def __init__(self):
        self.records = []

    def order(self, jobs):
        return jobs

    def run(self, jobs, progress):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context) as pool, Worker(progress) as worker:
            for job in jobs:
                sent = pool.submit(measured_elsewhere, pickle.dumps(job))
                self.records += pickle.loads(sent.result())
                yield worker.measure(job)


def test_another_process_measures_the_same_of_a_job(folder, text, tmp_path):
    file, executor = tmp_path / "text.txt", AnotherProcess()
    file.write_text(text, encoding="utf-8")
    lines = (Line(method="none", lengths=(24, "2x")), Line(method="yarn", lengths=(48,)))
    here = rw.compare(
        folder, texts=[file], out=tmp_path / "run", windows=2, lines=lines, executor=executor
    )
    ran = [(cell["method"], cell["length"]) for cell in here.records]
    assert ran == [("none", 24), ("none", 64), ("yarn", 48)]
    assert [(each["method"], each["length"]) for each in executor.records] == ran
    for ours, theirs in zip(here.records, executor.records, strict=True):
        assert ours["nll"] == pytest.approx(theirs["nll"], abs=1e-6)
        assert ours["tokens_scored"] == theirs["tokens_scored"]


def test_twenty_cells_are_one_layout_and_one_proof_for_each_kind(llama, monkeypatch):
    counted = []
    for name in ("installation.measure_layout", "extension.prove"):
        place = f"ropewalk.integrations.{name}"
        real = pydoc.locate(place)
        monkeypatch.setattr(
            place, lambda *given, real=real, name=name: (counted.append(name), real(*given))[1]
        )
    methods = ["none", "rerope", "yarn", "dynamic_ntk:step=8", "linear"]
    (ids,) = token_ids(1, 400)
    records = perplexity(llama, [ids], [20, 24, 48, 80], methods=methods)
    assert [record["status"] for record in records] == ["ok"] * 20
    assert counted == ["installation.measure_layout", "extension.prove", "extension.prove"]


def test_a_plan_writes_nothing(folder, text, tmp_path):
    file, out = tmp_path / "text.txt", tmp_path / "run"
    file.write_text(text, encoding="utf-8")
    request = {"texts": [file], "methods": ["none", "yarn"], "lengths": ["1x", "2x", 10**6]}
    planned = rw.api.plan_compare(folder, out=out, windows=2, **request)
    assert not out.exists()
    statuses = [cell["status"] for cell in planned.document["cells"]]
    assert statuses == ["planned", "planned", "failed"] * 2
    assert all(
        cell["seconds"] > 0 for cell in planned.document["cells"] if cell["status"] == "planned"
    )


def test_records_are_plain_json(llama):
    records = perplexity(llama, [token_ids(1, 100)[0]], [20], methods=["native", "yarn:factor=4"])
    assert json.loads(json.dumps(records)) == records
