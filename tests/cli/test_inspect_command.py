"""inspect: what it asks of the library, what it prints."""

import json
from typing import Any

import pytest
from commands import FakeApi

from ropewalk.cli.main import main


def inspection(pairs: int, *, outside_from: int) -> dict[str, Any]:
    return {
        "head_dim": 2 * pairs,
        "rotary_dim": 2 * pairs,
        "rope_theta": 10000.0,
        "trained_length": 4096,
        "method": "native",
        "context_length": 16384,
        "inv_freq": [2.0**-i for i in range(pairs)],
        "attention_factor": 1.0,
        "logit_scale": float("inf"),
        "softmax_scale": 0.125,
        "safe_length": None,
        "rotates": True,
        "layers": [],
        "pairs": [
            {
                "pair": i,
                "inv_freq": 2.0**-i,
                "wavelength": 6.28 * 2**i,
                "turns_in_training": 652.0 / 2**i,
                "largest_trained_angle": 4095.0 / 2**i,
                "largest_angle": 16383.0 / 2**i,
                "out_of_range": i >= outside_from,
            }
            for i in range(pairs)
        ],
    }


def test_inspect_passes_everything_on(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = inspection(4, outside_from=3)
    options = ["--length", "64", "--method", "yarn:factor=4", "--layer-type", "full_attention"]
    assert main(["inspect", config, *options, "--json"]) == 0
    named = {"context_length": 64, "method": "yarn:factor=4", "layer_type": "full_attention"}
    assert api.asked == [("inspect", (config,), named)]
    printed = json.loads(capsys.readouterr().out)
    assert printed == {**api.answer, "logit_scale": None}  # JSON has no infinity


def test_inspect_takes_a_multiple_of_the_trained_length(api: FakeApi, config: str) -> None:
    api.answer = inspection(4, outside_from=3)
    assert main(["inspect", config, "--length", "1.5x", "--json"]) == 0
    assert api.asked == [
        ("inspect", (config,), {"context_length": "1.5x", "method": None, "layer_type": None})
    ]


def test_inspect_prints_the_telling_pairs_of_a_long_table(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = inspection(64, outside_from=30)
    assert main(["inspect", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["trained", "length", "4,096"] for line in lines)
    rows = {line.split()[0]: line.rstrip() for line in lines if line.strip()[:1].isdigit()}
    # The ends, the first pair without a full turn (652 / 2^10 < 1), the first one outside.
    ends, full_turn, outside = (0, 1, 2, 61, 62, 63), (8, 9, 10, 11), (28, 29, 30, 31)
    assert {int(name) for name in rows if int(name) < 64} >= {*ends, *full_turn, *outside}
    assert not {"5", "20", "45"} & rows.keys()
    assert [line.strip() for line in lines].count("...") == 3
    assert rows["30"].endswith("outside")
    assert not rows["29"].endswith("outside")
    assert any(line.startswith("34 of 64 pairs reach angles") for line in lines)


def test_inspect_prints_all_of_a_short_table(
    api: FakeApi, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = inspection(5, outside_from=5)
    assert main(["inspect", config]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "..." not in lines
    assert [line.split()[0] for line in lines if line[:1].isdigit()][:5] == list("01234")
