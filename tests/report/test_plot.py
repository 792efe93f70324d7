"""Pictures: the data behind each against closed forms, the files, and what is refused."""

import cmath
import itertools
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from ropewalk.api import plotting
from ropewalk.api.plotting import Subject
from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.report import decay, heatmaps, pairs
from ropewalk.report.figures import folded, write_figure

DIM, BASE, L0 = 16, 1e4, 64
SMALL = Subject(
    name="small", config={"head_dim": DIM, "rope_theta": BASE, "max_position_embeddings": L0}
)
THETA = [BASE ** (-2 * i / DIM) for i in range(DIM // 2)]
NAMES = ("distances", "angles", "wavelengths", "reach", "decay")


def floats(values):
    return torch.tensor(values, dtype=torch.float64)


# Factors that are not stated.


@pytest.mark.parametrize(
    ("method", "length", "stated"),
    [
        ("none", 256, "none"),
        ("linear", 256, "linear:factor=4"),
        ("linear", 32, "linear:factor=1"),
        ("yarn:beta_fast=16", 96, "yarn:beta_fast=16,factor=1.5"),
        ("dual_chunk+yarn+log_n", 128, "dual_chunk+yarn:factor=2+log_n"),
        ("self_extend", 128, "self_extend:factor=2"),
        ("self_extend:group_size=3", 128, "self_extend:group_size=3"),
        ("linear:factor=8", 128, "linear:factor=8"),
    ],
)
def test_an_omitted_factor_is_written_out(method, length, stated):
    assert SMALL.stated(method, length) == stated


def test_the_config_s_own_encoding_can_be_drawn():
    scaled = Subject(
        name="scaled",
        config={**SMALL.config, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    )
    record = plotting.wavelengths(scaled, ["native"], 128)
    expected = [2 * math.pi * 2 / theta for theta in THETA]
    assert record["methods"][0]["wavelengths"] == pytest.approx(expected, rel=1e-12)


# The data.


def dual_chunk(m, n, size=10, window=5):
    """Distance in chunks of 10 with a local window of 5."""
    apart = m // size - n // size
    query = [m % size, min(m % size + size, size + window - 1), size + window - 1][min(apart, 2)]
    return query - n % size


@pytest.mark.parametrize("length", [37, 256, 1000])
def test_distances_are_those_of_the_map_at_the_tokens_shown(length):
    methods = ["none", "rerope:window=20", "dual_chunk:chunk_size=10,local_window=5"]
    forms = [lambda m, n: m - n, lambda m, n: min(m - n, 20), dual_chunk]
    record = plotting.distances(SMALL, methods, length)
    rows, keys = record["rows"], record["keys"]
    assert rows == keys
    assert len(rows) == min(length, 256)
    assert rows[0] == 0
    assert rows[-1] == length - 1
    assert all(before < after for before, after in itertools.pairwise(rows))
    for drawn, form in zip(record["methods"], forms, strict=True):
        expected = [[form(m, n) if n <= m else None for n in keys] for m in rows]
        assert drawn["matrix"] == expected
        assert drawn["largest"] == max(v for row in expected for v in row if v is not None)
        for row, m in enumerate(rows):
            bands = [range(r["start"][row], r["stop"][row]) for r in drawn["regions"]]
            assert sorted(n for band in bands for n in band) == list(range(m + 1))


def test_angles_are_position_times_frequency():
    record = plotting.angles(SMALL, ["none", "linear", "ntk_aware"], [128, 256])
    assert [(p["method"], p["context_length"]) for p in record["panels"]] == [
        (f"{name}{'' if name == 'none' else f':factor={factor}'}", factor * L0)
        for factor in (2, 4)
        for name in ("none", "linear", "ntk_aware")
    ]
    for panel in record["panels"]:
        length, factor = panel["context_length"], panel["context_length"] / L0
        base = BASE * factor ** (DIM / (DIM - 2))
        speeds = {
            "none": THETA,
            "linear": [theta / factor for theta in THETA],
            "ntk_aware": [base ** (-2 * i / DIM) for i in range(DIM // 2)],
        }[panel["method"].partition(":")[0]]
        expected = floats([[m * speed for speed in speeds] for m in range(length)])
        assert_close(floats(panel["angles"]), expected, rtol=1e-12, atol=0)
        # A pair that turned less than once in training, as far as L0 steps of it or farther.
        beyond = [
            [THETA[i] * L0 < 2 * math.pi and m * speeds[i] >= THETA[i] * L0 * (1 - 1e-9)
             for i in range(DIM // 2)]
            for m in range(length)
        ]  # fmt: skip
        assert panel["out_of_range"] == beyond


@pytest.mark.parametrize("trained_length", [9, 11, 15])
def test_a_pair_leaves_its_range_exactly_at_the_trained_length(trained_length):
    """Lengths at which L0 theta, taken through turns and back, is rounded up for some pair."""
    subject = Subject(
        name="odd",
        config={"head_dim": 32, "rope_theta": BASE, "max_position_embeddings": trained_length},
    )
    (panel,) = plotting.angles(subject, ["none"], [2 * trained_length])["panels"]
    unfinished = [BASE ** (-i / 16) * trained_length < 2 * math.pi for i in range(16)]
    assert not any(panel["out_of_range"][trained_length - 1])
    assert panel["out_of_range"][trained_length] == unfinished


def test_wavelengths_are_tokens_for_a_turn():
    record = plotting.wavelengths(SMALL, ["none", "linear"], 4 * L0)
    plain = [2 * math.pi * BASE ** (2 * i / DIM) for i in range(DIM // 2)]
    by_method = {drawn["method"]: drawn["wavelengths"] for drawn in record["methods"]}
    assert by_method["none"] == pytest.approx(plain, rel=1e-12)
    assert by_method["linear:factor=4"] == pytest.approx([4 * w for w in plain], rel=1e-12)
    assert record["turns_in_training"] == pytest.approx([L0 / w for w in plain], rel=1e-12)


def test_reach_shows_the_pairs_that_ntk_aware_leaves_out_of_range_and_by_parts_does_not():
    """NTK-aware slows pair i by s^(2i / (d - 2)): only the last pair by the whole factor."""
    length, factor = 4 * L0, 4
    record = plotting.reach(SMALL, ["none", "linear", "ntk_aware", "ntk_by_parts"], length)
    drawn = {d["method"].partition(":")[0]: d for d in record["methods"]}
    full = (length - 1) / L0
    slowed = [full / factor ** (2 * i / (DIM - 2)) for i in range(DIM // 2)]
    assert drawn["none"]["reach"] == pytest.approx([full] * (DIM // 2), rel=1e-12)
    assert drawn["linear"]["reach"] == pytest.approx([full / factor] * (DIM // 2), rel=1e-12)
    assert drawn["ntk_aware"]["reach"] == pytest.approx(slowed, rel=1e-12)
    unfinished = [theta * L0 < 2 * math.pi for theta in THETA]
    assert drawn["none"]["out_of_range"] == unfinished
    middle = [open_ and ratio >= 1 for open_, ratio in zip(unfinished, slowed, strict=True)]
    assert any(middle)
    assert not middle[-1]
    assert drawn["ntk_aware"]["out_of_range"] == middle
    assert not any(drawn["linear"]["out_of_range"])
    assert not any(drawn["ntk_by_parts"]["out_of_range"])


def test_a_position_map_shortens_the_reach():
    record = plotting.reach(SMALL, ["rerope:window=16"], 4 * L0)
    assert record["methods"][0]["reach"] == pytest.approx([16 / L0] * (DIM // 2), rel=1e-12)


def mean_over_bins(values, bins):
    return [sum(values[a : b + 1]) / (b + 1 - a) for a, b in bins]


@pytest.mark.parametrize(
    ("method", "shown", "scale"),
    [
        ("none", lambda d: d, 1.0),
        ("rerope:window=20", lambda d: min(d, 20), 1.0),
        ("none+yarn_temperature:factor=4", lambda d: d, (0.1 * math.log(4) + 1) ** 2),
        ("log_n", lambda d: d, math.log(300) / math.log(L0)),
    ],
)
def test_decay_is_roformer_s_sum_at_the_distance_shown(method, shown, scale):
    record = plotting.decay(SMALL, [method], 300)
    bounds, scores = [], []
    for distance in range(300):
        turned = [cmath.exp(1j * shown(distance) * theta) for theta in THETA]
        partial = [abs(sum(turned[:j])) for j in range(1, len(turned) + 1)]
        bounds.append(scale * sum(partial) / len(partial))
        scores.append(scale * sum(z.real for z in turned) / len(turned))
    (drawn,), bins = record["methods"], record["bins"]
    assert drawn["bound"] == pytest.approx(mean_over_bins(bounds, bins), rel=1e-12)
    assert drawn["score"] == pytest.approx(mean_over_bins(scores, bins), abs=1e-12)


def test_decay_carries_the_attention_factor_squared():
    one, other = plotting.decay(SMALL, ["ntk_by_parts:factor=4", "yarn:factor=4"], 100)["methods"]
    expected = floats(one["score"]) * (0.1 * math.log(4) + 1) ** 2
    assert_close(floats(other["score"]), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [2, 3, 100, 8192])
def test_bins_of_distances_are_whole_and_equal_on_a_log_axis(length):
    record = plotting.decay(SMALL, ["none"], length)
    covered = [d for first, last in record["bins"] for d in range(first, last + 1)]
    assert covered == list(range(1, length))
    starts = [first for first, _ in record["bins"] if first > 64]
    wide = [after / before for before, after in itertools.pairwise(starts)]
    assert all(abs(ratio - 2 ** (1 / 8)) < 0.01 for ratio in wide)


def test_the_sinusoidal_table_is_vaswani_s():
    record = plotting.sinusoidal(12, 30)
    for m, row in enumerate(record["table"]):
        for i in range(6):
            angle = m / 10000 ** (2 * i / 12)
            assert row[2 * i] == pytest.approx(math.sin(angle), abs=1e-12)
            assert row[2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-12)


# The drawings.


def labels(figure):
    return [text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel()) if text]


def texts(figure):
    parts = [figure.get_suptitle(), *(axis.get_title(loc="left") for axis in figure.axes)]
    return " ".join(" ".join(parts).split())


def test_distances_hatch_what_training_never_showed():
    record = plotting.distances(SMALL, ["none", "rerope"], 2 * L0)
    figure = heatmaps.draw_distances(record)
    assert "hatched: at or beyond the trained length of 64" in texts(figure)
    near = heatmaps.draw_distances(plotting.distances(SMALL, ["rerope"], 2 * L0))
    assert "all below the trained length of 64" in texts(near)
    assert labels(figure).count("query m (token)") == 1
    assert "distance shown (tokens)" in labels(figure)
    image = figure.axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (0, L0 - 1)
    assert [any(bar.get_hatch() for bar in axis.patches) for axis in figure.axes[:2]] == [
        True,
        False,
    ]


def test_ticks_of_small_matrices_are_whole_tokens():
    figure = heatmaps.draw_distances(plotting.distances(SMALL, ["none"], 12))
    figure.canvas.draw()
    ticks = figure.axes[0].get_xticks()
    assert all(tick == int(tick) for tick in ticks)


def test_a_panel_a_length_and_method_of_angles():
    figure = heatmaps.draw_angles(plotting.angles(SMALL, ["none", "linear"], [80, 128]))
    panels = [axis for axis in figure.axes if axis.get_title(loc="left")]
    assert [axis.get_title(loc="left").split("\n") for axis in panels] == [
        ["none", "80 positions"],
        ["linear:factor=1.25", "80 positions"],
        ["none", "128 positions"],
        ["linear:factor=2", "128 positions"],
    ]
    hatched = [any(bar.get_hatch() for bar in axis.patches) for axis in panels]
    assert hatched == [True, False, True, False]


def test_pictures_over_pairs_say_how_many_are_concerned():
    unfinished = sum(theta * L0 < 2 * math.pi for theta in THETA)
    record = plotting.wavelengths(SMALL, ["none", "ntk_aware"], 4 * L0)
    figure = pairs.draw_wavelengths(record)
    assert f"{unfinished} of 8 pairs never complete a turn" in texts(figure)
    figure = pairs.draw_reach(plotting.reach(SMALL, ["none", "linear"], 4 * L0))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [f"none: {unfinished} out of range", "linear:factor=4: 0 out of range"]


def test_lines_differ_in_more_than_colour():
    methods = ["none", "linear", "ntk_aware", "ntk_by_parts", "yarn", "llama3", "dynamic_yarn"]
    figure = decay.draw_decay(plotting.decay(SMALL, methods, 4 * L0))
    drawn = [line for line in figure.axes[0].get_lines() if line.get_marker() != "None"]
    looks = {(line.get_marker(), str(line.get_linestyle())) for line in drawn}
    assert len(looks) == len(methods)
    assert figure.axes[1].get_xlabel().startswith("distance of the key from the last of 256")


def test_long_specs_are_folded_between_their_parts():
    spec = "yarn:factor=8,beta_fast=16,beta_slow=2+dual_chunk:chunk_size=512"
    lines = folded(spec, 24).split("\n")
    assert "".join(line.strip() for line in lines) == spec
    assert max(map(len, lines)) <= 26


def test_the_same_record_gives_the_same_bytes(tmp_path):
    record = plotting.wavelengths(SMALL, ["none"], 2 * L0)
    for kind in ("png", "svg"):
        first, second = (
            write_figure(pairs.draw_wavelengths(record), tmp_path / f"{n}.{kind}") for n in (1, 2)
        )
        assert first.read_bytes() == second.read_bytes()


# The command.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_pictures(png, svg):
    assert png.read_bytes().startswith(b"\x89PNG")
    assert ET.fromstring(svg.read_text("utf-8")).tag.endswith("svg")


NUMBERS = ("--head-dim", "16", "--trained-length", "16")


@pytest.mark.parametrize("name", NAMES)
def test_both_formats_are_written_where_the_reader_stands(name, folder, capsys):
    methods = ("--method", "none", "--method", "linear")
    assert main(["plot", name, *NUMBERS, *methods, "--length", "24"]) == 0
    written = capsys.readouterr().out.split()
    assert written == [f"ropewalk-{name}.png", f"ropewalk-{name}.svg"]
    check_pictures(*map(Path, written))


def test_the_sinusoidal_table_is_drawn(folder, capsys):
    assert main(["plot", "sinusoidal", "--width", "8", "--length", "6"]) == 0
    check_pictures(*map(Path, capsys.readouterr().out.split()))


@pytest.mark.parametrize("name", NAMES)
def test_json_is_the_data_and_draws_nothing_unless_asked(name, folder, capsys):
    assert main(["plot", name, *NUMBERS, "--method", "yarn", "--length", "32", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["plot"] == name
    assert document["context_length"] == 32
    assert document["trained_length"] == 16
    drawn = document.get("methods") or document["panels"]
    assert [d["method"] for d in drawn] == ["yarn:factor=2"]
    assert list(folder.iterdir()) == []
    arguments = ["--method", "none", "--json", "--out", "sub/a.svg", "--out", "b.PNG"]
    assert main(["plot", name, *NUMBERS, *arguments]) == 0
    json.loads(capsys.readouterr().out)
    check_pictures(folder / "b.PNG", folder / "sub" / "a.svg")


def test_a_config_takes_the_place_of_numbers(folder, capsys):
    config = {**SMALL.config, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    Path("config.json").write_text(json.dumps(config))
    arguments = ["config.json", "--method", "native", "--length", "2x", "--json"]
    assert main(["plot", "reach", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == "config.json"
    assert document["context_length"] == 2 * L0
    assert document["methods"][0]["reach"] == pytest.approx([127 / 128] * 8, rel=1e-12)


def test_angles_by_default_are_the_survey_s(folder, capsys):
    """d = 32, ten trained positions, twice and four times as many."""
    assert main(["plot", "angles", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["head_dim"], document["trained_length"]) == (32, 10)
    assert [(p["method"], len(p["angles"])) for p in document["panels"]] == [
        ("none", 20), ("linear:factor=2", 20), ("ntk_aware:factor=2", 20),
        ("none", 40), ("linear:factor=4", 40), ("ntk_aware:factor=4", 40),
    ]  # fmt: skip
    # 10 radians of pair 0 are more than a turn; every other pair is new from position 10 on.
    direct = document["panels"][0]["out_of_range"]
    assert not any(direct[9])
    assert direct[10] == [False] + [True] * 15


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["distances", "--out", "a.pdf"], ".png or .svg"),
        (["distances", "--out", "a"], ".png or .svg"),
        (["reach", "--method", "yran"], "unknown method yran"),
        (["reach", "--method", "yarn:facto=2"], "did you mean factor"),
        (["reach", "--method", "native+dual_chunk:chunk_size=0"], "chunk_size=0"),
        (["reach", "--length", "1"], "at least 2"),
        (["reach", "--length", "long"], "--length long"),
        (["reach", "--length", "2x", "--length", "4x"], "expected one length"),
        (["reach", "--head-dim", "7"], "head_dim=7"),
        (["reach", "--head-dim", "-2"], "head_dim=-2"),
        (["reach", "--rope-theta", "0.5"], "rope_theta=0.5"),
        (["reach", "--rope-theta", "nan"], "rope_theta=nan"),
        (["reach", "--trained-length", "1"], "1: expected"),
        (["reach", "nowhere.json"], "nowhere.json"),
        (["reach", "config.json", "--head-dim", "8"], "drop one"),
        (["angles", "--length", "10000000"], "at most"),
        (["decay", "--length", "10000000"], "at most"),
        (["sinusoidal", "--width", "7"], "even number"),
        (["sinusoidal", "--length", "1"], "--length"),
        (["sinusoidal", "--length", "10000000"], "at most"),
        (["nothing"], "No such command"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, said, folder, capsys):
    assert main(["plot", *arguments]) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert list(folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(folder, capsys):
    Path("blocked").write_text("a file")
    assert main(["plot", "sinusoidal", "--out", "blocked/a.png"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_format_that_is_not_drawn_is_refused(tmp_path):
    record = plotting.wavelengths(SMALL, ["none"], 2 * L0)
    with pytest.raises(RopewalkError, match=r"png or \.svg"):
        write_figure(pairs.draw_wavelengths(record), tmp_path / "a.pdf")
