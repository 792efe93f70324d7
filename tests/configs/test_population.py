"""Every model type of the installed library: what is read of it is what the library turns.

A sample in every run, all of them among the slow tests. Refusals are right answers as long as
they are few: the whole list is in docs/population.md.
"""

import json

import pytest
import transformers

from recipes.population.library import model_types
from recipes.population.page import MEMORY, PAGE, RESULT, page
from recipes.population.readings import NOT_BUILT, REFUSED, WRONG, readings

TYPES = model_types()
SAMPLE = TYPES[:: len(TYPES) // 60]


@pytest.fixture(autouse=True)
def quiet():
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)


def wrong(found):
    return [reading for reading in found if reading.status == WRONG]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", SAMPLE)
def test_what_is_read_of_a_type_is_what_the_library_turns(model_type):
    assert not wrong(readings(model_type))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_none_is_read_wrongly_and_few_are_refused():
    found = [reading for model_type in TYPES for reading in readings(model_type)]
    assert not wrong(found)
    answered = [reading for reading in found if reading.status != NOT_BUILT]
    refused = [reading for reading in answered if reading.status == REFUSED]
    assert len(refused) <= 0.03 * len(answered)


def test_the_page_shows_what_was_run():
    result, memory = (json.loads(file.read_text("utf-8")) for file in (RESULT, MEMORY))
    assert PAGE.read_text("utf-8") == page(result, memory), "run python -m recipes.population.run"
    assert not result["counts"].get(WRONG)
    assert not [row for row in memory["families"].values() if row["status"] == WRONG]
