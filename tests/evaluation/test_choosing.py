"""What is measured where nothing is said: as much as ends in time, the longest lengths first."""

from types import SimpleNamespace

import pytest

from ropewalk.core.errors import RopewalkError
from ropewalk.core.passes import FullPass
from ropewalk.evaluation.choosing import (
    FEW_WINDOWS,
    SECONDS,
    SHARE,
    Choice,
    choose,
    flags,
    open_to_choice,
    rungs,
)
from ropewalk.evaluation.cost import CostModel, Probe
from ropewalk.evaluation.protocols.protocol import OnePassPerLength
from ropewalk.evaluation.request import DEFAULT_METHODS, Line, Request

TRAINED = 1000
METHODS = tuple(DEFAULT_METHODS)


class LinearTask:
    """A token costs one, for each window; longer texts than ``most`` are refused."""

    def __init__(self, windows: int, most: int) -> None:
        self.windows, self.most = windows, most

    def check(self, length: int) -> None:
        if length > self.most:
            raise RopewalkError(f"length {length}: the text is too short")

    def groups(self, lengths, sharing):
        return sharing.groups(lengths)

    def cost(self, lengths, split) -> float:
        return sum(lengths) * self.windows


def prepare(most: int = 10**9):
    def run(request: Request):
        lengths = tuple(round(float(str(n).removesuffix("x")) * TRAINED) for n in request.lengths)
        task = LinearTask(request.windows or 8, most)
        series = [
            SimpleNamespace(
                task="loss", lengths=lengths, sharing=OnePassPerLength(), split=FullPass()
            )
            for _ in request.methods
        ]
        return SimpleNamespace(series=series, setting=SimpleNamespace(task_of=lambda text: task))

    return run


NOTHING = Request()


def chosen(seconds_of_the_whole: float, request: Request = NOTHING, most: int = 10**9) -> Choice:
    tokens = 8 * len(METHODS) * round(15.5 * TRAINED)
    cost = CostModel(
        seconds_per_token=seconds_of_the_whole / tokens, probe=Probe(tokens=64, seconds=1.0)
    )
    return choose(request, METHODS, prepare(most), cost)


def test_what_ends_in_time_is_measured_whole():
    choice = chosen(SHARE * SECONDS)
    assert choice.request == choice.whole
    assert (choice.request.methods, choice.request.windows) == (METHODS, None)
    assert choice.request.lengths == ("0.5x", "1x", "2x", "4x", "8x")
    assert choice.seconds == pytest.approx(SHARE * SECONDS)


def test_the_longest_lengths_come_before_the_most_methods():
    choice = chosen(2 * SECONDS)
    assert choice.request.lengths[-1] == "8x"
    assert choice.request.methods == ("none", "yarn", "dynamic_ntk:step=32", "self_extend")
    assert choice.whole.methods == METHODS
    assert choice.whole_seconds == pytest.approx(2 * SECONDS)


@pytest.mark.parametrize("times", [1, 3, 10, 30, 100, 300])
def test_what_is_taken_is_estimated_to_end_in_time(times):
    choice = chosen(times * SECONDS)
    assert choice.seconds <= SHARE * SECONDS
    assert choice.budget == SECONDS


def test_of_a_model_too_slow_for_anything_the_cheapest_is_taken():
    choice = chosen(1e9)
    every = [sum(float(n[:-1]) for n in rung.lengths) * len(rung.methods) * (rung.windows or 8)
             for rung in rungs(Request(), METHODS)]  # fmt: skip
    taken = sum(float(n[:-1]) for n in choice.request.lengths)
    assert taken * len(choice.request.methods) * choice.request.windows == min(every)
    assert choice.budget == 2 * choice.seconds


def test_within_the_trained_length_methods_are_there_with_a_factor_of_their_own():
    choice = chosen(300 * SECONDS)
    assert choice.request.lengths[-1] in ("1x", "0.5x", "0.25x")
    assert "yarn:factor=2" in choice.request.methods
    assert choice.request.windows == FEW_WINDOWS


def test_what_is_stated_stays():
    lengths = chosen(10 * SECONDS, Request(methods=("linear",)))
    assert lengths.request.methods == ("linear",)
    methods = chosen(3 * SECONDS, Request(lengths=("3x",), windows=5))
    assert (methods.request.lengths, methods.request.windows) == (("3x",), 5)
    assert not open_to_choice(Request(methods=("none",), lengths=(64,)))
    assert not open_to_choice(Request(lines=[Line(method="none")]))


def test_lengths_that_the_text_lacks_count_nothing_and_all_of_them_are_refused():
    assert chosen(1.0, most=2 * TRAINED).request.lengths[-1] == "8x"  # shown as failed
    with pytest.raises(RopewalkError, match="too short"):
        chosen(1.0, most=1)


def test_the_whole_goes_on_in_the_same_run_folder():
    choice = chosen(6 * SECONDS)
    assert choice.request.windows == FEW_WINDOWS
    assert choice.record()["whole"][-2:] == ["--windows", str(FEW_WINDOWS)]


def test_a_choice_is_kept_for_the_same_request_alone(tmp_path):
    choice = chosen(3 * SECONDS)
    choice.keep(tmp_path)
    assert Choice.kept(tmp_path, Request()) == choice
    assert Choice.kept(tmp_path, Request(methods=("none",))) is None
    (tmp_path / "chosen.json").write_text("{")
    assert Choice.kept(tmp_path, Request()) is None
    assert Choice.kept(tmp_path / "nothing", Request()) is None


def test_flags_are_what_a_command_adds():
    request = Request(methods=("none", "yarn"), lengths=("1x", 64), windows=4)
    assert flags(request) == [
        "--method", "none", "--method", "yarn",
        "--length", "1x", "--length", "64", "--windows", "4",
    ]  # fmt: skip
