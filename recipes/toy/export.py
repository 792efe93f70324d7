"""Turn a training run into the bundled toy model: bfloat16 weights, tokenizer, training log.

python -m recipes.toy.export RUN_FOLDER src/ropewalk/data/toy
"""

import json
import shutil
from pathlib import Path

import torch
import typer
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from recipes.toy.train import toy_config, toy_tokenizer
from ropewalk.training.checkpoint import Checkpoint
from ropewalk.training.corpus import END_OF_TEXT

LOG_EVERY_STEPS = 50


def main(run: Path, target: Path) -> None:
    """Write config, weights, tokenizer, recipe and a thinned training log into TARGET."""
    model = LlamaForCausalLM(toy_config())
    steps = Checkpoint(run / "checkpoint.safetensors").restore(model, [])
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=toy_tokenizer(), eos_token=END_OF_TEXT, bos_token=END_OF_TEXT
    )
    tokenizer.save_pretrained(target)
    shutil.copy(run / "recipe.json", target / "recipe.json")
    records = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    lines = ["step,tokens,mean_loss_nats,lr,seconds"]
    for first in range(0, steps, LOG_EVERY_STEPS):
        block = records[first : first + LOG_EVERY_STEPS]
        loss = sum(record["loss"] for record in block) / len(block)
        seconds = sum(record["seconds"] for record in block)
        last = block[-1]
        lines.append(
            f"{last['step'] + 1},{last['tokens']},{loss:.4f},{last['lr']:.6f},{seconds:.1f}"
        )
    (target / "training_log.csv").write_text("\n".join(lines) + "\n", "utf-8")
    typer.echo(f"{steps} steps exported to {target}")


if __name__ == "__main__":
    typer.run(main)
