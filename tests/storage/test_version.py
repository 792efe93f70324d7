"""The version that results are kept under."""

from importlib.metadata import PackageNotFoundError

from places import ROOT
from ropewalk.storage.version import code_version


def test_a_source_tree_that_is_not_installed_has_the_version_of_its_project(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ropewalk.storage.version.version", absent)
    project = ROOT / "pyproject.toml"
    assert f'version = "{code_version()}"' in project.read_text("utf-8").splitlines()
    monkeypatch.setattr("ropewalk.storage.version._PROJECT", project.with_name("absent.toml"))
    assert code_version() == "0+unknown"
