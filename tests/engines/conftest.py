"""Lists of LongRoPE in files."""

import json

import pytest
from export_configs import LONG_LIST, SHORT_LIST


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The text of a spec with its LISTS in files."""
    folder = tmp_path_factory.mktemp("lists")
    for name, values in (("short", SHORT_LIST), ("long", LONG_LIST)):
        (folder / f"{name}.json").write_text(json.dumps(values))
    files = f"short_factor=@{folder}/short.json,long_factor=@{folder}/long.json"
    return lambda spec: spec.replace("LISTS", files)
