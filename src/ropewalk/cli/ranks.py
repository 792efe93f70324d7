"""A command under torchrun: rank 0 runs it, the others do what it has them do."""

import os
import sys
from collections.abc import Callable

import typer

from ropewalk.integrations.ranked.together import RankFailed, follow
from ropewalk.ranks.launching import joined
from ropewalk.ranks.ranks import LEADER, Ranks

FAILED = 1
INTERRUPTED = 130


def over_ranks(command: Callable[[Ranks], int]) -> int:
    """The status of the command, on rank 0; 0 on the others.

    A rank that cannot go on ends at once, without a word to those that wait for it: torchrun ends
    them.
    """
    with joined(os.environ) as ranks:
        try:
            if ranks.rank != LEADER:
                follow(ranks)
                return 0
            status = command(ranks)
        except RankFailed as error:
            typer.echo(f"error: {error}", err=True)
            _leave(FAILED)
        except KeyboardInterrupt:
            _leave(INTERRUPTED)
        if status == INTERRUPTED:
            _leave(INTERRUPTED)
        ranks.told(None)
    return status


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
