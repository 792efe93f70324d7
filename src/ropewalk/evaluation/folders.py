"""Where a run goes unless a folder is named. Imports nothing heavy: commands ask at once."""

from pathlib import Path

RUNS = Path("ropewalk-runs")


def default_run_folder(model: str, protocol: str) -> Path:
    """``ropewalk-runs/<model>-<protocol>`` in the working folder.

    model     name of a folder or file, or a hub id
    protocol  its name, without parameters
    """
    return RUNS / f"{model.replace('/', '--')}-{protocol}"
