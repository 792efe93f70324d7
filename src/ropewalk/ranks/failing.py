"""Why a rank cannot go on: for a reason of its own, or because another one is gone."""

from ropewalk.core.errors import first_line


class RankFailed(Exception):
    """A rank cannot go on, and the others cannot go on without it. Says why, in one line."""

    @classmethod
    def of(cls, rank: int, size: int, error: BaseException) -> "RankFailed":
        """error  what stopped the rank"""
        return cls(
            f"rank {rank} of {size} cannot go on ({first_line(error)}): finished cells are kept; "
            "ask for shorter lengths or a smaller batch, or start more ranks"
        )


class PeerLost(Exception):
    """Another rank is gone, or did not come to an exchange. The reason is that one's."""
