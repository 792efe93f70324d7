"""Which lengths a checkpoint was trained at: three numbers that configs mix up.

pretrained  what its frequencies were learned at: original_max_position_embeddings, where the
            scaling refers to it; max_position_embeddings, where there is none
tuned       what it covers as it is shipped: max_position_embeddings; YaRN's factor times the
            original length where that is more
asked for   what somebody wants of it: nobody's but the caller's
"""

from ropewalk.configs.keys import ORIGINAL
from ropewalk.configs.numbers import LARGEST_LENGTH
from ropewalk.configs.rope import RopeSection

_KNOWN_BY_THEIR_LENGTH = ("default", "dynamic", "powers_ntk", "proportional")


def tuned_length(section: RopeSection) -> int:
    """Tokens that the checkpoint covers as it is; L0 under dynamic NTK.

    Linear's and Llama 3's factors are not taken: configs state their whole reach, Vicuna's and
    LongChat's under max_sequence_length.
    """
    longest = section.max_position_embeddings
    if section.rope_type == "linear" and section.reached is not None:
        return section.reached
    if section.rope_type == "dynamic" and not section.parameters.get("alpha"):
        return min(longest, section.trained_length)
    factor = section.number("factor") or 1.0
    if section.rope_type != "yarn" or not 1 <= factor <= LARGEST_LENGTH / section.trained_length:
        return longest
    return max(longest, int(factor * section.trained_length))


def pretrained_length(section: RopeSection) -> int | None:
    """Tokens before any scaling; None where the config does not say (linear)."""
    stated = section.trained_length_key == ORIGINAL
    known = stated or section.rope_type in _KNOWN_BY_THEIR_LENGTH
    return section.trained_length if known else None
