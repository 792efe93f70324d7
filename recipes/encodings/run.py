"""Train one small decoder for each encoding on bytes, and measure it up to 16 times as far.

    python -m recipes.encodings.run TEXTS HELDOUT

TEXTS and HELDOUT are folders of .txt files. May be killed and started again at any time: training
goes on from its checkpoint, and what docs/results/encodings.json holds is not measured again.
``python -m recipes.pages encodings`` writes the page.
"""

import json
import platform
from pathlib import Path
from typing import Any

import torch
import typer

from recipes.encodings import losses, recall, study
from recipes.pages import RESULTS, write_result
from ropewalk.training.trainer import fast_dtype


def main(
    texts: Path,
    heldout: Path,
    *,
    out: Path = Path("runs/encodings"),
    results: Path = RESULTS / "encodings.json",
    steps: int = 512,
    seeds: int = 2,
) -> None:
    torch.set_num_threads(1)
    corpus = torch.cat(list(study.texts_of(texts).values()))
    documents = study.texts_of(heldout)
    done = json.loads(results.read_text("utf-8")) if results.exists() else _empty(steps)
    if done["steps"] != steps:
        raise typer.BadParameter(f"{results} holds models of {done['steps']} steps")
    done["documents"] = {key: len(value) for key, value in documents.items()}
    for spec, seed in study.jobs(seeds):
        name = f"{spec} seed {seed}"
        if name in done["models"]:
            continue
        folder = out / f"{spec.replace(':', '-')}-{seed}"
        model, facts = study.trained(spec, seed, corpus, steps, folder)
        texts_read = list(documents.values())
        done["models"][name] = {
            "encoding": spec,
            "seed": seed,
            **facts,
            "lengths": losses.losses(model, texts_read),
            "recall": recall.recall(model, texts_read),
        }
        write_result(done, results)
        typer.echo(f"{name}: {facts['last_training_losses']} nats in its last steps")


def _empty(steps: int) -> dict[str, Any]:
    return {
        "trained_length": study.TRAINED,
        "layers": study.LAYERS,
        "steps": steps,
        "tokens_per_step": study.BATCH * study.TRAINED,
        "tail_tokens": losses.TAIL,
        "targets_of_a_document": losses.WINDOWS * losses.TAIL,
        "environment": {
            "device": f"{platform.machine()} CPU, 1 thread",
            "torch": torch.__version__,
            "dtype": f"{str(fast_dtype())[6:]} in training, float32 in measuring",
        },
        "documents": {},
        "models": {},
    }


if __name__ == "__main__":
    typer.run(main)
