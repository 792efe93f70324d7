"""Methods verified on workers have the records that they have here."""

import pytest
import torch

import ropewalk as rw
from recipes.families.sharpened import tiny
from ropewalk.api.verification import verify_checkpoint

METHODS = ("yarn", "rerope", "dynamic_ntk:policy=at_birth", "longrope")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")
    tiny(num_hidden_layers=2, dtype=torch.float32).save_pretrained(place)
    return place


class Backwards:
    """An executor whose one worker does the last task first."""

    def __init__(self):
        self.begun = 0

    def each(self, begin, tasks):
        self.begun += 1
        work = begin()
        for task in reversed(list(tasks)):
            yield task, work(task)


def test_records_are_those_of_this_process(checkpoint, tmp_path):
    methods = METHODS[:3]
    here = verify_checkpoint(checkpoint, methods=methods)
    worker = Backwards()
    there = verify_checkpoint(checkpoint, methods=methods, executor=worker, out=tmp_path)
    assert there["records"] == here["records"]
    assert worker.begun == 1
    again = verify_checkpoint(checkpoint, methods=methods, executor=Backwards(), out=tmp_path)
    assert again["records"] == here["records"]


def test_a_method_that_is_not_one_is_told_before_a_worker_begins(checkpoint):
    worker = Backwards()
    with pytest.raises(rw.RopewalkError, match="longrope"):
        verify_checkpoint(checkpoint, methods=METHODS[3:], executor=worker)
    assert worker.begun == 0
