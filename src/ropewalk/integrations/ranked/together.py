"""Steps, taken by all ranks: the leader sends them, the others follow until it has no more."""

from typing import Any

from ropewalk.core.errors import RopewalkError
from ropewalk.integrations.ranked.model import RankedModel
from ropewalk.integrations.ranked.steps import Step
from ropewalk.ranks.failing import PeerLost, RankFailed
from ropewalk.ranks.ranks import Ranks


def lead(model: RankedModel, step: Step) -> Any:
    """Have every rank take a step: what comes of it here.

    Raises RopewalkError where it fails by input, on any rank; RankFailed where this one cannot
    go on, PeerLost where another one could not.
    """
    if model.lost:
        raise RankFailed("the other ranks are lost: start all of them again")
    try:
        model.ranks.told(step)
        return _agreed(model, step)
    except RopewalkError:
        raise
    except BaseException:
        model.lost = True
        raise


def follow(ranks: Ranks) -> None:
    """Take the leader's steps until it has none left. Raises as ``lead``, but for input."""
    model = RankedModel(ranks)
    while (step := ranks.told()) is not None:
        try:
            _agreed(model, step)
        except RopewalkError:
            continue  # the leader has it too, and decides what comes of it


def _agreed(model: RankedModel, step: Step) -> Any:
    """Raises for all ranks what is wrong with one."""
    result, own = None, None
    try:
        result = step.run(model)
    except RopewalkError as error:
        own = error
    except PeerLost:
        raise
    except Exception as error:
        # The others may be waiting for this rank in the middle of a pass.
        raise RankFailed.of(model.ranks.rank, model.ranks.size, error) from error
    said = model.ranks.each_has(None if own is None else str(own))
    if own is not None:
        raise own
    for rank, words in enumerate(said):
        if words is not None:
            raise RopewalkError(f"rank {rank}: {words}")
    return result
