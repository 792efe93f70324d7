"""Train one small decoder for each encoding on bytes, and measure it up to 16 times as far.

    python -m recipes.encodings.run TEXTS HELDOUT

TEXTS and HELDOUT are folders of .txt files. May be killed and started again at any time: training
goes on from its checkpoint, and what docs/results/encodings.json holds is not measured again.
``python -m recipes.pages encodings`` writes the page.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import Tensor

from recipes.pages import RESULTS, write_result
from ropewalk.core.passes import FullPass
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.training.corpus import Windows
from ropewalk.training.decoder import Decoder
from ropewalk.training.decoder_config import DecoderConfig
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, causal_loss, train

TRAINED = 128
LENGTHS = (64, 128, 256, 512, 1024, 2048)
HEADLINE = ("alibi", "none", "sinusoidal", "t5_bias")
OTHERS = (
    "kerple", "xpos", "nope", "fox", "shaw:tables=keys", "fire",
    "inkling:rel_extent=128", f"learned:rows={LENGTHS[-1]}", "rope_values", "alibi+none",
)  # fmt: skip
TAIL = 32
"""Last tokens of a window that are scored, each with nearly the whole context: stride 1 within 1.6
to 50 % of the length."""
TARGETS = 512
"""Scored tokens of a document, of tails and of whole windows alike."""
SKIPPED = 20_000
"""Bytes at the start of a document that are left out: titles and contents."""


def main(
    texts: Path,
    heldout: Path,
    *,
    out: Path = Path("runs/encodings"),
    results: Path = RESULTS / "encodings.json",
    steps: int = 256,
    seeds: int = 1,
    only: list[str] | None = None,
) -> None:
    torch.set_num_threads(1)
    corpus = torch.cat([_bytes(file) for file in sorted(texts.glob("*.txt"))])
    documents = {file.stem: _bytes(file) for file in sorted(heldout.glob("*.txt"))}
    for seed in range(seeds):
        for spec in only or (*HEADLINE, *OTHERS):
            name = f"{spec} seed {seed}"
            done = json.loads(results.read_text("utf-8")) if results.exists() else _empty(steps)
            if name in done["models"]:
                continue
            model, facts = _trained(spec, seed, corpus, steps, out)
            measured = _measured(model, list(documents.values()))
            done["models"][name] = {"encoding": spec, "seed": seed, **facts, "lengths": measured}
            done["documents"] = {key: len(value) for key, value in documents.items()}
            write_result(done, results)
            typer.echo(f"{name}: {measured[str(TRAINED)]['tail_nats']:.3f} nats at {TRAINED}")


def _empty(steps: int) -> dict[str, Any]:
    return {
        "trained_length": TRAINED,
        "steps": steps,
        "tokens_per_step": 32 * TRAINED,
        "tail_tokens": TAIL,
        "targets_of_a_document": TARGETS,
        "environment": {
            "device": f"{platform.machine()} CPU, 1 thread",
            "torch": torch.__version__,
            "dtype": "bfloat16 autocast in training, float32 in measuring",
        },
        "documents": {},
        "models": {},
    }


def _bytes(file: Path) -> Tensor:
    return torch.from_numpy(np.frombuffer(file.read_bytes(), dtype=np.uint8).copy())


def _trained(
    spec: str, seed: int, corpus: Tensor, steps: int, out: Path
) -> tuple[Decoder, dict[str, Any]]:
    torch.manual_seed(seed)
    model = Decoder(DecoderConfig(encodings=[spec], max_position_embeddings=TRAINED))
    recipe = Recipe(
        windows=Windows(length=TRAINED, batch_size=32, seed=seed),
        schedule=WarmupStableDecay(total_steps=steps, warmup_steps=20),
    )
    folder = out / f"{spec.replace(':', '-')}-{seed}"
    for _ in train(model, causal_loss(model), corpus, recipe, folder):
        pass
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    plain = Decoder(DecoderConfig(encodings=["nope"]))
    own, bare = (sum(p.numel() for p in each.parameters()) for each in (model, plain))
    facts = {
        "parameters": own,
        "parameters_of_the_encoding": own - bare,
        "last_training_losses": round(sum(line["loss"] for line in log[-16:]) / 16, 4),
    }
    return model.eval(), facts


def _measured(model: Decoder, documents: Sequence[Tensor]) -> dict[str, Any]:
    """By length: mean nats a document of tails (one list each) and of whole windows."""
    scorer, found = TransformersScorer(model), {}
    for length in LENGTHS:
        tails, wholes = [], []
        for ids in documents:
            tails.append(_tails(scorer, ids.long(), length))
            wholes.append(_wholes(scorer, ids.long(), length))
        means = np.array(tails).mean()
        found[str(length)] = {
            "tail_nats": round(float(means), 4),
            "tails": [[round(x, 4) for x in each] for each in tails],
            "whole_windows_nats": round(float(np.mean(wholes)), 4),
        }
    return found


def _tails(scorer: TransformersScorer, ids: Tensor, length: int) -> list[float]:
    """Mean loss of each window's last tokens; windows end at the same places at all lengths."""
    ends = SKIPPED + LENGTHS[-1] + torch.arange(TARGETS // TAIL) * LENGTHS[-1]
    losses = []
    for some in ends.split(max(1, 8192 // length)):
        batch = torch.stack([ids[end - length : end] for end in some.tolist()])
        losses.append(scorer.token_losses(batch, length - TAIL, FullPass()).mean(dim=-1))
    return torch.cat(losses).tolist()


def _wholes(scorer: TransformersScorer, ids: Tensor, length: int) -> float:
    """Mean loss over windows side by side, every token but the first of each."""
    count = max(1, LENGTHS[-1] // length)
    batch = ids[SKIPPED : SKIPPED + count * length].view(count, length)
    losses = [scorer.token_losses(x, 1, FullPass()) for x in batch.split(max(1, 8192 // length))]
    return float(torch.cat(losses).mean())


if __name__ == "__main__":
    typer.run(main)
