"""Published rules: what a released script does, to the letter."""

from ropewalk.core.errors import RopewalkError
from ropewalk.evaluation.bos import BosTokenizer
from ropewalk.evaluation.protocols.protocol import EvaluationProtocol


class PublishedRule(EvaluationProtocol):
    """Scripts open their windows themselves: with the BOS of every tokenizer that has one."""

    @classmethod
    def opening(cls, tokenizer: BosTokenizer, bos: str) -> tuple[int, ...]:
        require_auto(cls.name, bos)
        begin = tokenizer.bos_token_id
        return () if begin is None else (begin,)


def require_auto(protocol: str, bos: str) -> None:
    """Raise RopewalkError for a BOS that is asked for beside a published rule."""
    if bos != "auto":
        raise RopewalkError(
            f"bos {bos} with protocol {protocol}: a published rule says itself where a BOS "
            "stands; expected bos auto, or protocol tail, curve, prefix or sliding"
        )
