"""Many generations at once on two extended models are what each is alone."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import ropewalk as rw
from recipes.families.sharpened import tiny, token_ids

METHODS = ("dynamic_ntk:step=8", "yarn:factor=2", "rerope:window=12", "dual_chunk+yarn:factor=2")


def requests(count):
    """(family, ids, mask, new tokens), of random lengths and paddings."""
    chosen = random.Random(0)
    found = []
    for number in range(count):
        longest, missing = chosen.randint(8, 40), chosen.randint(0, 6)
        ids = token_ids(2, longest, seed=number)
        mask = torch.ones_like(ids)
        mask[0, :missing] = 0
        found.append((chosen.choice(("llama", "gpt_neox")), ids, mask, chosen.randint(2, 8)))
    return found


def soak(methods, threads, count):
    """Generations in threads and alone, in the order of ``requests``."""
    models = {name: tiny(name, num_hidden_layers=2) for name in ("llama", "gpt_neox")}
    extensions = [rw.extend(m, s) for m, s in zip(models.values(), methods, strict=True)]

    def run(request):
        name, ids, mask, tokens = request
        settings = {"do_sample": False, "min_new_tokens": tokens, "max_new_tokens": tokens}
        return models[name].generate(ids, attention_mask=mask, **settings)

    asked = requests(count)
    with ThreadPoolExecutor(threads) as pool:
        together = list(pool.map(run, asked))
    alone = [run(request) for request in asked]
    for extension in extensions:
        extension.remove()
    return together, alone


@pytest.mark.parametrize("methods", [METHODS[:2], METHODS[2:]], ids=" ".join)
def test_a_short_soak(methods):
    together, alone = soak(methods, threads=4, count=12)
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("methods", [METHODS[:2], METHODS[2:], METHODS[1:3]], ids=" ".join)
def test_a_soak(methods):
    """Eight threads, three hundred generations; memory stays where it was."""
    resource = pytest.importorskip("resource")
    soak(methods, threads=8, count=24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    together, alone = soak(methods, threads=8, count=300)
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # KiB: the models take 1 MiB each
