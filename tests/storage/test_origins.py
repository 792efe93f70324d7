"""Where results came from: signed once for each machine and state of the code."""

import os
import subprocess

from ropewalk.storage import origins as module
from ropewalk.storage.origins import origins, sign


def test_an_origin_is_left_once_and_read_back(tmp_path):
    own = sign(tmp_path, "An Accelerator")
    assert sign(tmp_path, "An Accelerator") == own
    assert origins(tmp_path) == [own]
    sign(tmp_path, None)
    assert [each["accelerator"] for each in origins(tmp_path)].count(None) == 1
    assert own["cores"] == os.cpu_count()
    assert origins(tmp_path / "nowhere") == []


def test_what_cannot_be_read_is_passed_over(tmp_path):
    own = sign(tmp_path, None)
    (tmp_path / "origins" / "broken.json").write_text("{")
    assert origins(tmp_path) == [own]


def test_the_commit_is_that_of_the_clone_and_a_change_is_told(tmp_path, monkeypatch):
    def git(*arguments):
        author = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *author, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    file = tmp_path / "origins.py"
    file.write_text("one")
    git("init", "-q")
    git("add", "origins.py")
    git("commit", "-qm", "first")
    monkeypatch.setattr(module, "__file__", str(file))
    head = git("rev-parse", "HEAD")
    assert module.origin(None)["commit"] == head
    file.write_text("two")
    assert module.origin(None)["commit"] == f"{head}+"
    monkeypatch.setattr(module, "__file__", str(tmp_path / "untracked.py"))
    assert module.origin(None)["commit"] is None
