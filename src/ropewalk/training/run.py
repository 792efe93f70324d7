"""train: a small decoder from scratch, with any encoding."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_book
from ropewalk.integrations.folders import require_free
from ropewalk.integrations.quiet import quiet
from ropewalk.methods.build import encoding
from ropewalk.storage.files import write_whole
from ropewalk.training.claiming import claimed
from ropewalk.training.corpus import END_OF_TEXT, Windows, encode_files, train_tokenizer
from ropewalk.training.decoder import Decoder
from ropewalk.training.decoder_config import DecoderConfig
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, StepRecord, causal_loss, fast_dtype
from ropewalk.training.trainer import train as train_steps

BYTES = 257
"""Entries of a tokenizer without merges: every byte, and the end of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSize:
    """How large a decoder is.

    width      channels of the hidden states; a multiple of twice the heads
    key_heads  that divide the heads
    qk_norm    ``rms`` norms each query and key, ``none`` does not
    partial_rotary_factor  share of a head's channels that turn, where an encoding rotates

    Raises RopewalkError for a size that no decoder has.
    """

    layers: int = 4
    width: int = 128
    heads: int = 4
    key_heads: int = 4
    qk_norm: str = "none"
    partial_rotary_factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "DecoderSize":
        """Of ``layers=4,width=128,heads=4,key_heads=2,qk_norm=rms``; what is left out is default.

        One key head for each head, unless ``key_heads`` says otherwise.
        """
        given = dict(item.partition("=")[::2] for item in text.split(",") if item)
        names = [each.name for each in fields(cls)]
        for name, value in given.items():
            counts = name not in ("qk_norm", "partial_rotary_factor")
            if name not in names or (counts and not value.isdecimal()):
                raise RopewalkError(
                    f"decoder {name}={value}: expected a number for one of "
                    f"{', '.join(names[:-2])}, qk_norm=rms, or partial_rotary_factor=0.5"
                )
        given.setdefault("key_heads", given.get("heads", "4"))
        norm, share = given.pop("qk_norm", "none"), given.pop("partial_rotary_factor", "1")
        try:
            return cls(
                qk_norm=norm,
                partial_rotary_factor=float(share),
                **{name: int(value) for name, value in given.items()},
            )
        except ValueError as error:
            if isinstance(error, RopewalkError):
                raise
            raise RopewalkError(
                f"decoder partial_rotary_factor={share}: expected a share in (0, 1]"
            ) from error

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.key_heads) < 1 or self.heads % self.key_heads:
            raise RopewalkError(
                f"{self.layers} layers, {self.heads} heads, {self.key_heads} key heads: expected "
                "at least 1 each, and key heads that divide the heads"
            )
        if self.qk_norm not in ("rms", "none"):
            raise RopewalkError(f"qk_norm={self.qk_norm}: expected rms or none")
        if self.width % (2 * self.heads):
            raise RopewalkError(
                f"width {self.width} of {self.heads} heads: expected an even number of channels "
                "for each head"
            )

    @property
    def shape(self) -> dict[str, Any]:
        """Keys of a ``DecoderConfig``."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": 8 * self.width // 3 // 8 * 8 or 8,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "head_dim": self.width // self.heads,
            "qk_norm": self.qk_norm,
            "partial_rotary_factor": self.partial_rotary_factor,
        }


def train(
    encodings: str | Sequence[str],
    out: str | Path,
    *,
    texts: Sequence[str | Path] = (),
    length: int = 128,
    steps: int = 500,
    batch: int = 32,
    windows: Sequence[int | None] = (None,),
    size: DecoderSize | None = None,
    vocabulary: int = BYTES,
    peak_lr: float = 3e-3,
    seed: int = 0,
    progress: Callable[[StepRecord], None] | None = None,
) -> dict[str, Any]:
    """Train a decoder with an encoding, or one for each kind of layer in turn.

    out         its folder: an interrupted run goes on there, to the same numbers; ``out/model``
                is a checkpoint that every command takes
    texts       files to train on; the bundled book without any
    length      trained length in tokens
    windows     tokens that a layer of each kind sees; None for all before it
    vocabulary  entries of the byte-level tokenizer, which is trained first

    Returns what ``ropewalk train --json`` prints. Raises RopewalkError for bad input, and for a
    folder that holds a run with other settings.
    """
    specs = [encodings] if isinstance(encodings, str) else list(encodings)
    chosen, folder = size or DecoderSize(), Path(out)
    files = [Path(file) for file in texts] or [demo_book()]
    settings = DecoderConfig(
        vocab_size=vocabulary,
        max_position_embeddings=length,
        encodings=specs,
        windows=list(windows),
        **chosen.shape,
    )
    _check(settings, specs, files, steps=steps, batch=batch, peak_lr=peak_lr)
    recipe = Recipe(
        windows=Windows(length=length, batch_size=batch, seed=seed),
        schedule=WarmupStableDecay(total_steps=steps, warmup_steps=min(100, steps // 10 + 1)),
        peak_lr=peak_lr,
    )
    dtype = fast_dtype()
    told = {"model": settings.to_diff_dict(), "recipe": asdict(recipe), "products": dtype}
    require_free(folder)  # before anything is written into somebody's checkpoint
    torch.manual_seed(seed)
    model = Decoder(settings)
    with claimed(folder):
        _claim(folder, told, files)
        tokenizer = _tokenizer(folder, files, vocabulary)
        tokens = encode_files(tokenizer.backend_tokenizer, files)
        last = None
        for record in train_steps(model, causal_loss(model, dtype), tokens, recipe, folder):
            last = record
            if progress is not None:
                progress(record)
        with quiet():
            model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
    return {
        "model": str(folder / "model"),
        "encodings": specs,
        "trained_length": length,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": steps,
        "tokens": steps * recipe.tokens_per_step,
        "loss": None if last is None else last.loss,
    }


def _check(
    config: DecoderConfig,
    specs: Sequence[str],
    files: Sequence[Path],
    *,
    steps: int,
    batch: int,
    peak_lr: float,
) -> None:
    if not specs or batch < 1 or steps < 1:
        raise RopewalkError(
            f"{len(specs)} encodings, batch {batch}, {steps} steps: expected at least 1 of each"
        )
    if not 0 < peak_lr < math.inf:
        raise RopewalkError(f"learning rate {peak_lr:g}: expected a number above 0")
    if config.vocab_size < BYTES:
        raise RopewalkError(f"vocabulary {config.vocab_size}: expected at least {BYTES} entries")
    built = [encoding(spec, config.geometry) for spec in specs]
    if any(each.inputs != built[0].inputs for each in built):
        raise RopewalkError(
            f"encodings {', '.join(specs)}: expected the same of them in all kinds of "
            "layers where positions are added to embeddings"
        )
    for file in files:
        if not file.is_file():
            raise RopewalkError(f"{file}: no such file; expected a text to train on")


def _claim(folder: Path, settings: dict[str, Any], files: Sequence[Path]) -> None:
    """Note the settings of a run, or refuse a folder with those of another."""
    found = {**settings, "texts": [file.name for file in files]}
    text, note = json.dumps(found, indent=1, default=str) + "\n", folder / "settings.json"
    if note.exists() and note.read_text("utf-8") != text:
        raise RopewalkError(
            f"{folder} holds a run with other settings ({note}): expected the same, or a new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(note, text.encode())


def _tokenizer(folder: Path, files: Sequence[Path], vocabulary: int) -> PreTrainedTokenizerFast:
    path = folder / "tokenizer.json"
    if not path.exists():
        train_tokenizer(files, vocabulary).save(str(path))
    return PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token=END_OF_TEXT)
