"""The bench of attention compares what is equal, and says what it compared."""

import json

import torch
from torch.testing import assert_close
from typer.testing import CliRunner

from benchmarks import attention
from benchmarks.attention import CAUSAL, DENSE, bench_attention
from recipes.speed.page import attention as page
from ropewalk.attention.tiled import attend
from ropewalk.cli.main import app
from ropewalk.methods.build import encoding

SPEC = "rerope:window=1024"


def test_the_dense_way_computes_what_the_tiled_one_does():
    """Past the window, so that both regions are there; in float32, whose sums differ in order."""
    q, k, v = attention._inputs(1100)
    tiled = attend(q, k, v, encoding(SPEC, attention.GEOMETRY))
    assert_close(attention._dense(q, k, v), tiled, rtol=0, atol=2e-5)
    causal = attention._causal(q, k, v)
    assert (causal - tiled).abs().max() > 0.01


def test_every_length_and_contender_is_in_the_document():
    told = []
    document = bench_attention(
        lengths=[64, 128], methods=[SPEC], rounds=2, progress=lambda *each: told.append(each)
    )
    assert document["bench"] == "attention"
    assert list(document["ratios"]) == ["64", "128"]
    for length in ("64", "128"):
        assert set(document["ratios"][length]) == {CAUSAL, DENSE, SPEC}
        assert document["ratios"][length][CAUSAL]["median"] == 1
        assert set(document["memory"][length]) == {CAUSAL, DENSE, SPEC}
        assert len(document["timings"][length][SPEC]["seconds"]) == 2
    assert document["machine"]["threads"] == torch.get_num_threads()
    assert [share for _, share in told] == sorted(share for _, share in told)


def test_score_matrices_that_do_not_fit_are_left_out(monkeypatch):
    monkeypatch.setattr(attention, "_memory_of_the_machine", lambda: 3 * (3 * 4 * 9 * 100**2))
    document = bench_attention(lengths=[64, 128], methods=[], rounds=1)
    assert DENSE in document["ratios"]["64"]
    assert DENSE not in document["ratios"]["128"]
    lines = [line for line in page(document).splitlines() if line.startswith(f"| `{DENSE}`")]
    assert len(lines) == 2
    assert all(line.endswith("| - |") for line in lines)


def test_memory_of_a_score_matrix_is_seen():
    """Two matrices of 9 heads and 1,024 squared, and one that joins them, in float32."""
    document = bench_attention(lengths=[1024], methods=[SPEC], rounds=1)
    matrix = 4 * 9 * 1024**2
    assert document["memory"]["1024"][DENSE] > 2 * matrix
    assert document["memory"]["1024"][SPEC] < matrix


def test_the_command_prints_the_document_or_its_figures():
    arguments = ["bench", "attention", "--length", "64", "--method", SPEC, "--rounds", "1"]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0
    assert f"{SPEC}, 64 tokens" in printed.stdout
    document = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert document["lengths"] == [64]
