"""The package's public names, and what importing it costs."""

import subprocess
import sys
from importlib import import_module
from importlib.resources import files

import pytest

import ropewalk

HEAVY = ("torch", "transformers", "numpy", "rich", "matplotlib", "huggingface_hub")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


def test_all_is_sorted_and_holds_every_public_name_once() -> None:
    assert ropewalk.__all__ == sorted(set(ropewalk.__all__))


@pytest.mark.parametrize("name", ropewalk.__all__)
def test_every_public_name_is_what_its_home_defines(name: str) -> None:
    value = getattr(ropewalk, name)
    home = import_module(ropewalk._HOMES[name])
    assert value is getattr(home, name)


def test_homes_and_all_agree() -> None:
    assert sorted(ropewalk._HOMES) == ropewalk.__all__
    assert set(ropewalk.__all__) <= set(dir(ropewalk))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ropewalk' has no attribute 'yarn'"):
        ropewalk.yarn  # noqa: B018


def test_the_error_is_a_value_error() -> None:
    assert issubclass(ropewalk.RopewalkError, ValueError)


def test_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        expected = version("ropewalk")
    except PackageNotFoundError:
        pytest.skip("runs from a source tree that is not installed")
    assert ropewalk.__version__ == expected


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (files(ropewalk) / "py.typed").is_file()


@pytest.mark.parametrize(
    "statement",
    [
        "import ropewalk",
        "import ropewalk; ropewalk.RopewalkError",
        "from ropewalk.integrations.sources import locate; locate('someone/some-model')",
        "from ropewalk.cli.main import main; assert main(['--help']) == 0",
        "from ropewalk.cli.main import main; assert main(['compare', '--help']) == 0",
        "from ropewalk.cli.main import main; assert main(['inspect', './nothing']) == 2",
        "from ropewalk.cli.main import main; assert main(['compare', './nothing']) == 2",
        "from ropewalk.cli.main import main; assert main(['generate', './no', '--prompt=a']) == 2",
        "from ropewalk.cli.main import main; assert main(['verify', './nothing']) == 2",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement: str) -> None:
    assert loaded_after(statement).isdisjoint(HEAVY)


def test_the_core_needs_torch_alone() -> None:
    loaded = loaded_after("import ropewalk.core.encoding")
    assert "torch" in loaded
    assert loaded.isdisjoint({"transformers", "matplotlib", "rich", "typer"})
