"""Pictures: what is drawn of which numbers, the files, and what is refused."""

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ropewalk.cli.main import main
from ropewalk.core.errors import RopewalkError
from ropewalk.methods.pictures import Subject, picture
from ropewalk.opening.shapes import shape_of
from ropewalk.reporting import decay, heatmaps, pairs
from ropewalk.reporting.figures import folded, write_figure

DIM, BASE, L0 = 16, 1e4, 64
CONFIG = {"head_dim": DIM, "rope_theta": BASE, "max_position_embeddings": L0}
SMALL = Subject(name="small", section=shape_of(CONFIG).rope())
THETA = [BASE ** (-2 * i / DIM) for i in range(DIM // 2)]
NAMES = ("distances", "angles", "wavelengths", "reach", "decay")


# The drawings.


def labels(figure):
    return [text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel()) if text]


def texts(figure):
    parts = [figure.get_suptitle(), *(axis.get_title(loc="left") for axis in figure.axes)]
    return " ".join(" ".join(parts).split())


def test_distances_hatch_what_training_never_showed():
    record = picture("distances", SMALL, ["none", "rerope"], [2 * L0])
    figure = heatmaps.draw_distances(record)
    assert "hatched: at or beyond the trained length of 64" in texts(figure)
    near = heatmaps.draw_distances(picture("distances", SMALL, ["rerope"], [2 * L0]))
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
    figure = heatmaps.draw_distances(picture("distances", SMALL, ["none"], [12]))
    figure.canvas.draw()
    ticks = figure.axes[0].get_xticks()
    assert all(tick == int(tick) for tick in ticks)


def test_a_panel_a_length_and_method_of_angles():
    figure = heatmaps.draw_angles(picture("angles", SMALL, ["none", "linear"], [80, 128]))
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
    record = picture("wavelengths", SMALL, ["none", "ntk_aware"], [4 * L0])
    figure = pairs.draw_wavelengths(record)
    assert f"{unfinished} of 8 pairs never complete a turn" in texts(figure)
    figure = pairs.draw_reach(picture("reach", SMALL, ["none", "linear"], [4 * L0]))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == [f"none: {unfinished} out of range", "linear:factor=4: 0 out of range"]


def test_lines_differ_in_more_than_colour():
    methods = ["none", "linear", "ntk_aware", "ntk_by_parts", "yarn", "llama3", "dynamic_yarn"]
    figure = decay.draw_decay(picture("decay", SMALL, methods, [4 * L0]))
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
    record = picture("wavelengths", SMALL, ["none"], [2 * L0])
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
    config = {**CONFIG, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
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
    record = picture("wavelengths", SMALL, ["none"], [2 * L0])
    with pytest.raises(RopewalkError, match=r"png or \.svg"):
        write_figure(pairs.draw_wavelengths(record), tmp_path / "a.pdf")
