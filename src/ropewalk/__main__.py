"""``python -m ropewalk``: the command line without an installed script."""

from ropewalk.cli.main import run

run()
