"""llama.cpp's own server computes what was exported for it, and says so when it is asked."""

import pytest

import ropewalk as rw
from ropewalk.api.serving import verify_served
from ropewalk.data import demo_model

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
