"""Two runs in one folder at once: the second is refused, and the first one's death frees it."""

import subprocess
import sys

import pytest

import ropewalk as rw
from ropewalk.training.claiming import claimed

HOLDER = """
import sys
from pathlib import Path
from ropewalk.training.claiming import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_one_processs_until_that_is_killed(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "claimed\n"
        with pytest.raises(rw.RopewalkError, match=r"another process is at work in .*run: "):
            claimed(folder).__enter__()
    finally:
        holder.kill()
        holder.communicate()
    with claimed(folder):
        pass


def test_an_error_within_frees_the_folder(tmp_path):
    with pytest.raises(rw.RopewalkError, match="something else"), claimed(tmp_path):
        raise rw.RopewalkError("something else")
    with claimed(tmp_path):
        pass
