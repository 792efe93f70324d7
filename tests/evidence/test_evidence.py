"""The evidence pages: what stands in them is what the scripts make of the committed results."""

import importlib
import shutil
from pathlib import Path

import pytest

from recipes import pages
from recipes.seed.findings import findings, frozen_against_nothing


@pytest.mark.parametrize("recipe", pages.RECIPES)
def test_the_page_is_what_the_recipe_makes_of_the_results(recipe, tmp_path, monkeypatch):
    module = importlib.import_module(f"recipes.{recipe}.page")
    monkeypatch.setattr(module, "IMAGES", tmp_path / "images", raising=False)
    blocks = module.blocks()
    copies = {page: Path(shutil.copy(page, tmp_path / page.name)) for page in blocks}
    pages.write({copies[page]: texts for page, texts in blocks.items()})
    for page, copy in copies.items():
        assert copy.read_text("utf-8") == page.read_text("utf-8"), f"recipes.pages {recipe}"


FLAT = {256: 100.0, 288: 101.0, 512: 110.0}


def told(**lines):
    lines = {"one_base": FLAT, "simulated": FLAT, "streamed": FLAT, "alpha_one": FLAT, **lines}
    return findings(prompted={512: 110.0}, trained=256, **lines)


def test_claims_hold_only_where_the_figures_say_so():
    jumps = told(simulated={256: 100.0, 288: 300.0, 512: 200.0})
    assert "and then improve: holds for" in jumps
    assert "From 100.0 it goes to 300.0 at 288, and ends at 200.0 at 512." in jumps
    assert "at most 197 % above one base (at 288)" in jumps
    for never in (FLAT, {256: 100.0, 288: 150.0, 512: 200.0}):
        assert "and then improve: does not hold for" in told(simulated=never)


def test_a_stream_is_compared_with_one_base():
    text = told(streamed={256: 100.0, 288: 111.1, 512: 110.0})
    assert "decoding token by token at most 10 % (at 288)" in text


def test_how_long_one_base_stays_low():
    text = told()
    assert "within 2 % of the 100.0 at the trained length up to 288, and is 110.0 at 512" in text
    gone = told(one_base={256: 100.0, 288: 120.0, 512: 101.0})
    assert "leaves the 100.0 of the trained length at once, and is 101.0 at 512" in gone


def test_alpha_one_crosses_or_does_not():
    crosses = told(alpha_one={256: 100.0, 288: 100.0, 512: 150.0})
    assert "crosses above: holds.** It is no worse than alpha 2 up to 288" in crosses
    assert "does not hold** here (110.0 against 110.0 at 512)" in told()
    above = told(alpha_one={256: 100.0, 288: 130.0, 512: 150.0})
    assert "half holds.** It is worse than alpha 2 at once" in above


def test_frozen_keys_are_held_against_a_model_that_nothing_extended():
    plain, streamed = {256: 100.0, 320: 104.0, 512: 300.0}, {256: 100.0, 320: 156.0, 512: 150.0}
    worse = frozen_against_nothing(streamed, plain, FLAT | {320: 102.0}, 256)
    assert "worse than nothing.** At 320 tokens a true stream is at 156.0" in worse
    assert "at 104.0, and one base at 102.0" in worse
    better = frozen_against_nothing({256: 100.0, 512: 150.0}, plain, FLAT, 256)
    assert "better than nothing" in better
