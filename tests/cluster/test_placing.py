"""Jobs go where there is memory for them, and a large one is not passed by for ever."""

from dataclasses import dataclass

import pytest

from ropewalk.cluster.placing import Demand, Places, Room


@dataclass(frozen=True)
class Cell:
    """A job as far as its place goes."""

    name: str
    needs: int


def places(rooms, weights=0, coming=0):
    made = Places(demand=Demand(weights=weights, of_job=lambda job: job.needs), coming=coming)
    for worker, (place, memory) in rooms.items():
        made.join(worker, (Room(place=place, memory=memory),))
    return made


def test_two_large_cells_share_no_machine():
    """16 and 16 do not fit into 30; the second waits until the first is done."""
    here = places({"a": ("one", 30), "b": ("one", 30)})
    first, second = Cell("first", 16), Cell("second", 16)
    worker = here.take(first, ["a", "b"])
    (other,) = {"a", "b"} - {worker}
    assert here.take(second, [other]) is None
    here.end(worker)
    assert here.take(second, ["a", "b"]) is not None


def test_weights_of_every_worker_of_a_machine_count():
    """40 bytes less twice 10 of weights leave 20."""
    here = places({"a": ("one", 40), "b": ("one", 40)}, weights=10)
    assert here.take(Cell("first", 15), ["a", "b"]) is not None
    assert here.take(Cell("second", 6), ["a", "b"]) is None


@pytest.mark.parametrize("idle", [["small", "large"], ["large", "small"]])
def test_the_place_with_most_room_is_taken(idle):
    here = places({"small": ("one", 30), "large": ("two", 50)})
    assert here.take(Cell("any", 10), idle) == "large"
    assert here.take(Cell("more", 25), idle) == "large"


def test_small_cells_do_not_keep_a_large_one_waiting():
    """The large one waits at the largest place, which takes nothing else meanwhile."""
    here = places({"a": ("one", 30), "b": ("two", 100), "c": ("two", 100)})
    first, large, small = Cell("first", 40), Cell("large", 70), Cell("small", 5)
    assert here.take(first, ["a", "b"]) == "b"
    assert here.take(large, ["a", "c"]) is None
    assert here.take(small, ["c"]) is None
    assert here.take(small, ["a", "c"]) == "a"
    here.end("b")
    assert here.take(large, ["b", "c"]) in ("b", "c")


@pytest.mark.parametrize(("coming", "taken"), [(0, "b"), (1, None)])
def test_what_fits_nowhere_runs_alone_once_nobody_else_is_to_come(coming, taken):
    here = places({"a": ("one", 30), "b": ("two", 50)}, coming=coming)
    assert here.take(Cell("huge", 80), ["a", "b"]) == taken


def test_what_fits_nowhere_waits_for_an_empty_place():
    here = places({"a": ("one", 30), "b": ("one", 30)})
    worker = here.take(Cell("first", 5), ["a", "b"])
    (other,) = {"a", "b"} - {worker}
    huge = Cell("huge", 80)
    assert here.take(huge, [other]) is None
    here.end(worker)
    assert here.take(huge, [worker, other]) is not None


def test_a_worker_of_unknown_room_takes_any_job():
    here = places({})
    here.join("a", ())
    assert here.take(Cell("huge", 2**60), ["a"]) == "a"


def group(places, worker, *rooms):
    places.join(worker, tuple(Room(place=place, memory=memory) for place, memory in rooms))


@pytest.mark.parametrize(("need", "taken"), [(10, "single"), (11, None)])
def test_ranks_share_what_a_job_needs(need, taken):
    """Of 40 bytes on each of two places, a job of 60 takes 30 each, and leaves 10 each."""
    here = places({})
    group(here, "both", ("one", 40), ("two", 40))
    here.join("single", (Room(place="two", memory=40),))
    assert here.take(Cell("first", 60), ["both", "single"]) == "both"
    assert here.take(Cell("second", need), ["single"]) == taken


def test_ranks_on_one_machine_share_its_memory():
    """100 bytes less twice 10 of weights leave 80."""
    here = places({}, weights=10)
    group(here, "pair", ("one", 100), ("one", 100))
    here.join("other", (Room(place="two", memory=50),))
    assert here.take(Cell("first", 81), ["pair"]) == "pair"  # larger than any place, and alone
    here.end("pair")
    assert here.take(Cell("second", 80), ["pair", "other"]) == "pair"
    here.end("pair")
    assert here.take(Cell("third", 30), ["pair", "other"]) == "pair"
    assert here.take(Cell("fourth", 41), ["other"]) is None


def test_a_lost_worker_takes_its_needs_along():
    here = places({"a": ("one", 30), "b": ("one", 30)})
    worker = here.take(Cell("first", 20), ["a", "b"])
    here.leave(worker)
    (other,) = {"a", "b"} - {worker}
    assert here.take(Cell("second", 30), [other]) == other
