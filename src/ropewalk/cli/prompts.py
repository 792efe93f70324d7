"""The prompt of ``generate``: as typed, from a file, or from standard input; plain or as a turn."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ropewalk.core.errors import RopewalkError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

STANDARD_INPUT = "-"


def read_prompt(typed: str | None, file: Path | None) -> str:
    """Text of ``--prompt`` or ``--prompt-file``; ``-`` is standard input in both.

    Raises RopewalkError for neither or both, a file that cannot be read, or no text.
    """
    if (typed is None) == (file is None):
        raise RopewalkError("expected one of --prompt TEXT and --prompt-file FILE; - reads input")
    text = _read(file) if file is not None else typed
    if text == STANDARD_INPUT:
        text = sys.stdin.read()
    if not text:
        raise RopewalkError("--prompt: nothing in it; expected text")
    return text


def _read(file: Path) -> str:
    if str(file) == STANDARD_INPUT:
        return STANDARD_INPUT
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RopewalkError(f"--prompt-file {file}: {told}; expected a UTF-8 text file") from error


def plain_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> "Tensor":
    """Ids ``[1, n]`` of a text, with what the tokenizer puts around it."""
    ids: Tensor = tokenizer(text, return_tensors="pt").input_ids
    if ids.shape[-1] == 0:
        raise RopewalkError("--prompt: no tokens in it; expected text")
    return ids


def chat_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> "Tensor":
    """Ids ``[1, n]`` of a text as the user's turn, in the model's own template, up to the answer.

    Raises RopewalkError for a tokenizer without a template.
    """
    if not tokenizer.chat_template:
        raise RopewalkError("--chat: the tokenizer has no chat template; drop --chat")
    turn = [{"role": "user", "content": text}]
    found: Any = tokenizer.apply_chat_template(
        turn, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids: Tensor = found["input_ids"]
    return ids
