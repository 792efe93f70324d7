"""A command under torchrun: rank 0 runs it, the others do what it has them do."""

import os
import sys
import time
import traceback
from collections.abc import Callable

import typer

from ropewalk.integrations.ranked.together import follow
from ropewalk.ranks.failing import PeerLost, RankFailed
from ropewalk.ranks.launching import joined, tell_torchrun
from ropewalk.ranks.ranks import LEADER, Ranks

FAILED = 1
INTERRUPTED = 130
ENDING_SECONDS = 30.0
"""In which torchrun ends the ranks beside one that failed."""


def over_ranks(command: Callable[[Ranks], int]) -> int:
    """The status of the command, on rank 0; 0 on the others.

    A rank that cannot go on leaves its reason to torchrun and ends at once; torchrun ends those
    that wait for it, and prints the reason last. So one that has lost another says nothing of it.
    """
    with joined(os.environ) as ranks:
        try:
            if ranks.rank != LEADER:
                follow(ranks)
                return 0
            status = command(ranks)
            if status == INTERRUPTED:
                _leave(INTERRUPTED)
            ranks.told(None)
        except PeerLost as error:
            time.sleep(ENDING_SECONDS)
            _fail(str(error))
        except RankFailed as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _leave(INTERRUPTED)
        except Exception as error:
            traceback.print_exc()
            _fail(str(RankFailed.of(ranks.rank, ranks.size, error)))
    return status


def _fail(reason: str) -> None:
    typer.echo(f"error: {reason}", err=True)
    tell_torchrun(os.environ, reason)
    _leave(FAILED)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
