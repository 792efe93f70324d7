"""llama.cpp's own server computes what was exported for it, and says so when it is asked."""

import pytest

import ropewalk as rw
from ropewalk.api import compare
from ropewalk.api.serving import verify_served
from ropewalk.data import demo_book, demo_model

pytest.importorskip("xllamacpp")
from recipes.served.demo_gguf import write_demo
from recipes.served.llama_cpp import serving, serving_demo

pytestmark = pytest.mark.slow
LENGTH = 640
METHODS = [
    "none",
    "linear:factor=4",
    "ntk_aware:factor=4",
    "abf:rope_theta=500000",
    "dynamic_ntk:policy=fixed,length=1024",
    "yarn:factor=4",
    "yarn:factor=4,beta_fast=16,beta_slow=2",
]


def flags_of(method):
    return rw.export(str(demo_model()), method, "llama.cpp", 1024)["flags"]


@pytest.mark.parametrize("method", METHODS)
def test_the_server_is_identified_as_what_was_exported(method, tmp_path):
    with serving_demo(flags_of(method), tmp_path) as url:
        found = verify_served(None, url, method=method, length=LENGTH)
    assert (found["engine"], found["verdict"]) == ("llama.cpp", method)
    # An f16 cache over the 20 likeliest tokens: 4e-4 was seen, and 2e-3 under none, which beyond
    # the trained length amplifies rounding. The nearest other method is 0.1 and more away.
    assert found["candidates"][0]["mean_difference"] < 1e-2


@pytest.mark.parametrize(
    "method",
    [
        "yarn:factor=4,ramp=paper",
        "llama3:factor=4",
        "yarn:factor=4,truncate=false",
        "yarn:factor=4,attention_factor=0.9",
    ],
)
def test_a_new_file_is_served_as_what_was_asked(method, tmp_path):
    """No flags but the length: keys and tensors of the file alone say the method."""
    old, new = write_demo(tmp_path / "old.gguf"), tmp_path / "new.gguf"
    rw.export(str(old), method, "llama.cpp", 1024, out=new)
    with serving(new, ["-c", "1024"]) as url:
        found = verify_served(None, url, method=method, length=LENGTH)
    assert (found["engine"], found["verdict"]) == ("llama.cpp", method)
    assert found["candidates"][0]["mean_difference"] < 1e-2


@pytest.mark.parametrize(
    ("served", "asked", "verdict"),
    [
        ("none", "yarn:factor=4", "none"),
        ("yarn:factor=8", "yarn:factor=4", "yarn:factor=8"),
        ("yarn:factor=4,beta_fast=16,beta_slow=2", "yarn:factor=4", "cannot tell"),
        ("abf:rope_theta=12000", "none", "cannot tell"),
    ],
)
def test_a_server_started_otherwise_is_not_what_was_asked(served, asked, verdict, tmp_path):
    with serving_demo(flags_of(served), tmp_path) as url:
        found = verify_served(None, url, method=asked, length=LENGTH)
    assert found["verdict"] in (verdict, "cannot tell")
    assert not found["passed"]


def test_losses_and_tasks_through_the_server_are_those_of_the_model(tmp_path):
    """Twice the trained length, under the method that the server was started with."""
    method, text = "yarn:factor=4", tmp_path / "text.txt"
    text.write_text(demo_book().read_text("utf-8")[20_000:30_000], "utf-8")
    request = {
        "methods": [method],
        "lengths": [128, 512],
        "tail_tokens": 24,
        "windows": 2,
        "texts": text,
        "tasks": ["loss", "passkey"],
        "trials": 2,
    }
    with serving_demo(flags_of(method), tmp_path) as url:
        found = compare(str(demo_model()), served=url, out=tmp_path / "served", **request)
    here = compare(str(demo_model()), out=tmp_path / "here", **request)
    assert len(found.records) == 4
    for ours, theirs in zip(found.records, here.records, strict=True):
        assert ours["status"] == "ok"
        if "task" in ours:
            assert ours["forced"]["loss"] == pytest.approx(theirs["forced"]["loss"], abs=1e-2)
            assert ours["generation"]["right"] == theirs["generation"]["right"]
        else:
            assert ours["nll"] == pytest.approx(theirs["nll"], abs=1e-2)
