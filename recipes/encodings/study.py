"""What is trained: one decoder for each encoding, alike but for it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ropewalk.training.corpus import Windows
from ropewalk.training.decoder import Decoder
from ropewalk.training.decoder_config import DecoderConfig
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Matrices, Recipe, causal_loss, fast_dtype, train

TRAINED = 128
BATCH = 16
LAYERS = 3
WIDTH = 192
LENGTHS = (64, 128, 256, 512, 1024, 2048)
HEADLINE = ("alibi", "none", "sinusoidal", "t5_bias")
OTHERS = (
    "kerple", "xpos", "nope", "fox", "shaw:tables=keys", "fire",
    "inkling:rel_extent=128", f"learned:rows={LENGTHS[-1]}", "rope_values", "alibi+none",
)  # fmt: skip


def jobs(seeds: int) -> list[tuple[str, int]]:
    """Encoding and seed of each model: all of the first seed, the headline's of the others."""
    further = [(spec, seed) for seed in range(1, seeds) for spec in HEADLINE]
    return [*((spec, 0) for spec in (*HEADLINE, *OTHERS)), *further]


def texts_of(folder: Path) -> dict[str, Tensor]:
    """Bytes of each .txt file, by name."""
    return {file.stem: _bytes(file) for file in sorted(folder.glob("*.txt"))}


def trained(
    spec: str, seed: int, corpus: Tensor, steps: int, folder: Path
) -> tuple[Decoder, dict[str, Any]]:
    """The model, and what there is to say of its training; goes on where ``folder`` stands.

    What models have in common starts with the same numbers.
    """
    bare, model = (_decoder(each, seed) for each in ("nope", spec))
    model.load_state_dict(bare.state_dict(), strict=False)
    recipe = Recipe(
        windows=Windows(length=TRAINED, batch_size=BATCH, seed=seed),
        schedule=WarmupStableDecay(total_steps=steps, warmup_steps=20),
        matrices=Matrices.ADAMW,
    )
    for _ in train(model, causal_loss(model, fast_dtype()), corpus, recipe, folder):
        pass
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    own, common = (sum(p.numel() for p in each.parameters()) for each in (model, bare))
    facts = {
        "parameters": own,
        "parameters_of_the_encoding": own - common,
        "last_training_losses": round(sum(line["loss"] for line in log[-16:]) / 16, 4),
        "training_seconds": round(sum(line["seconds"] for line in log), 1),
    }
    model.train(mode=False)
    return model, facts


def _decoder(spec: str, seed: int) -> Decoder:
    torch.manual_seed(seed)
    config = DecoderConfig(
        encodings=[spec],
        max_position_embeddings=TRAINED,
        num_hidden_layers=LAYERS,
        hidden_size=WIDTH,
        intermediate_size=8 * WIDTH // 3,
        num_attention_heads=WIDTH // 32,
        num_key_value_heads=WIDTH // 32,
    )
    return Decoder(config)


def _bytes(file: Path) -> Tensor:
    return torch.from_numpy(np.frombuffer(file.read_bytes(), dtype=np.uint8).copy())
