"""A run in a folder, killed, planned, or measured by another process."""

import json
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
from short_windows import perplexity

import ropewalk as rw
from recipes.families.sharpened import tiny, token_ids
from ropewalk.evaluation.progress import Silent
from ropewalk.evaluation.request import Line
from ropewalk.evaluation.worker import Worker


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A model folder as a user has it."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny(num_hidden_layers=2, vocab_size=300, dtype=torch.float32).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


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
