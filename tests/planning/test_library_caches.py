"""The key cache of a plan is what the library's own cache holds, layer by layer, in numbers."""

import pytest
import transformers

from recipes.population.caches import agree, causal_families, counted, held, tiny
from recipes.population.library import NotBuilt

FAMILIES = causal_families()
SAMPLE = (
    *("llama", "mistral", "gemma3_text", "gemma4_text", "deepseek_v3", "hy_v4", "longcat_flash"),
    *("mimo_v2_flash", "llama4_text", "jamba", "minimax", "qwen3_next", "kimi_linear", "gpt2"),
    "mllama",
)


@pytest.fixture(autouse=True)
def quiet():
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(level)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", SAMPLE)
def test_memory_is_what_the_library_holds(family):
    model = tiny(family)
    numbers, tokens = held(model)
    ours = counted(model.config.to_dict(), tokens)
    assert agree(numbers, ours, tokens), (numbers, ours)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_memory_is_what_the_library_holds_of_every_causal_family():
    compared = []
    for family in FAMILIES:
        try:
            model = tiny(family)
            numbers, tokens = held(model)
        except NotBuilt:
            continue
        ours = counted(model.config.to_dict(), tokens)
        assert agree(numbers, ours, tokens), (family, numbers, ours)
        compared.append(family)
    assert len(compared) > 0.75 * len(FAMILIES)


@pytest.mark.parametrize(
    ("held", "counted", "right"),
    [
        ([216, 141], [(3, 72), (3, 48)], True),  # a window that holds one token less
        ([216], [(3, 72), (0, 72)], True),
        ([216, 1], [(3, 72), (0, 72)], False),
        ([216, 138], [(3, 72), (3, 48)], False),
        ([213], [(3, 72)], False),  # a full layer holds every token
        ([108], [(3, 72)], False),
        ([216, 216], [(3, 72)], False),
    ],
)
def test_the_comparison_tells_what_is_off(held, counted, right):
    assert agree(held, counted, 72) == right
