"""Export, start with what was printed, verify: on the engines that recipes/served installed.

ROPEWALK_ENGINES=runs/engines pytest -m slow tests/integrations/test_circle.py
"""

import os
from pathlib import Path

import pytest

from recipes.served.circle import measured
from recipes.served.engines import ENGINES
from recipes.served.plan import PLAIN, Cell

PLACE = Path(os.environ.get("ROPEWALK_ENGINES", "runs/engines"))
YARN = "yarn:factor=4"

pytestmark = pytest.mark.slow


def asked(engine, part, served, method, tmp_path):
    if not ENGINES[engine].installed(PLACE):
        pytest.skip(f"{engine} is not in {PLACE}: recipes/served/README.md")
    for folder in ("models", "logs"):
        (tmp_path / folder).mkdir()
    cell = Cell(
        part=part,
        engine=engine,
        model="demo",
        served=served,
        asked=method,
        local="demo",
        length=600,
    )
    return measured(cell, PLACE, tmp_path)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_printed_command_starts_a_server_that_computes_the_method(engine, tmp_path):
    found = asked(engine, "demo", YARN, YARN, tmp_path)
    assert (found["error"], found["verdict"]) == (None, YARN)
    # float32: 4e-6 was seen; the nearest other candidate is 0.2 away.
    assert found["mean"] < 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_without_the_flags_is_unscaled(engine, tmp_path):
    found = asked(engine, "faults", PLAIN, YARN, tmp_path)
    assert (found["error"], found["verdict"]) == (None, "none")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_method_named_in_the_rope_dict_is_computed(engine, tmp_path):
    method = "yarn:factor=4,ramp=paper"
    found = asked(engine, "plug-in", method, method, tmp_path)
    assert (found["error"], found["verdict"]) == (None, method)
    assert found["mean"] < 1e-3
