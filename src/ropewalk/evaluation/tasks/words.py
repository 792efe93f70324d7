"""Words for keys, values and lists."""

import re
from collections.abc import Iterable

import numpy as np

from ropewalk.core.errors import RopewalkError

_ADJECTIVES = """
    able amber ample ancient apt arid ashen autumn bare bitter black blue bold brave brief
    bright brisk bronze busy calm candid chilly clean clear clever cloudy cold cool coral cosy
    crisp curious damp daring dark dear deep dense dim distant dry dusty eager early earthy
    easy elder empty even exact faint fair famous fierce fine firm flat fleet fond formal frank
    free fresh frosty full gentle giant glad golden grand grave green grey hardy harsh hasty
    heavy hidden high hollow honest humble icy idle indigo ivory jolly keen kind lasting late
    lean level light little lively lone long loud loyal lucky lunar mellow merry mild misty
    modest mossy muddy narrow neat nimble noble northern odd old olive open pale patient plain
    polite proud pure quick quiet rapid rare ready red rich ripe rosy rough round royal rustic
    sandy sharp shy silent silver simple sleepy slow small smooth snowy soft solar solid
    southern spare stark steady steep still stony strong sunny sweet swift tall tame tender
    thin tidy tiny tranquil true vast velvet violet vivid warm wary western white wide wild
    windy wise wooden young
"""

_NOUNS = """
    acorn anchor apple arch arrow attic badger banner barley barn basin basket beacon beaver
    beech bell bench birch blanket boat bottle branch brass bread brick bridge broom brush
    bucket button cabin cable candle canoe canvas carpet castle cave cedar cellar chair chalk
    chapel cherry chest chimney cider circle clay cliff cloak clock clover coast cobweb comet
    compass copper corner cottage cradle crane creek crown cup curtain dale desk dock door dove
    drum eagle elm engine falcon feather fence fern ferry field finch fir flag flame flask
    flint flute forest forge fountain fox gable garden gate glacier glove goose grape gravel
    grove gull hammer harbor harp hatch hawk hazel heron hill hinge holly honey hook horn
    island ivy jacket jar kettle kitchen kite lake lamp lantern larch lark ladder leaf ledge
    lemon lily linen lodge loom magnet mantle maple market marsh meadow melon mill mirror moss
    mountain needle nest oak oar orchard otter owl paddle palace parcel path pebble pepper
    piano pier pillow pine pipe planet plank plum pocket pond poplar porch prairie quarry quill
    raft rail raven reed ridge river robin rope rudder saddle sail saucer scarf shelf shell
    shore shovel sled slope spade sparrow spoon spring spruce stable staff stone stool storm
    stove stream summit swan table thistle thread timber torch tower trail trunk tunnel valley
    vase veil village vine wagon wall walnut well wharf wheel willow window wing wolf wren yard
"""
ADJECTIVES, NOUNS = tuple(_ADJECTIVES.split()), tuple(_NOUNS.split())
_WORD = re.compile(r"\b[a-z]{4,10}\b")


def different(rng: np.random.Generator, known: int, count: int, what: str) -> list[int]:
    """``count`` different numbers below ``known``; RopewalkError where there are not as many."""
    if count > known:
        raise RopewalkError(
            f"a prompt of that length takes {count:,} different {what}, and there are {known:,}: "
            "ask for a shorter one"
        )
    return list(map(int, rng.choice(known, size=count, replace=False)))


def names(rng: np.random.Generator, count: int) -> list[str]:
    """Different adjectives and nouns, joined: ``silent-harbor``."""
    picks = different(rng, len(ADJECTIVES) * len(NOUNS), count, "names")
    return [f"{ADJECTIVES[n // len(NOUNS)]}-{NOUNS[n % len(NOUNS)]}" for n in picks]


def numbers(rng: np.random.Generator, count: int, digits: int = 7) -> list[str]:
    """Different numbers of so many digits."""
    lowest = 10 ** (digits - 1)
    return [str(lowest + n) for n in different(rng, 9 * lowest, count, "numbers")]


def uuids(rng: np.random.Generator, count: int) -> list[str]:
    """Random UUIDs (version 4)."""
    made = []
    for raw in (rng.bytes(16).hex() for _ in range(count)):
        variant = "89ab"[int(raw[16], 16) % 4]
        made.append(f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{variant}{raw[17:20]}-{raw[20:]}")
    return made


def letters(rng: np.random.Generator, count: int, size: int, alphabet: str) -> list[str]:
    """Different words of so many random letters."""
    base = len(alphabet)
    picks = different(rng, base**size, count, "words")
    return ["".join(alphabet[n // base**place % base] for place in range(size)) for n in picks]


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The different lower-case words of 4 to 10 letters, in the order of the alphabet."""
    return tuple(sorted({word for text in texts for word in _WORD.findall(text)}))
