"""Turn a training run into the bundled checkpoint: bfloat16 weights, tokenizer, training log.

    python recipes/demo/export.py RUN_FOLDER ... src/ropewalk/data/demo

Works at any time in a run: it reads the last checkpoint. Of several runs, which must have
begun as one, the weights are averaged in equal parts (Wortsman et al. 2022, Model soups,
arXiv:2203.05482); the log is that of the longest.
"""

import json
import shutil
from pathlib import Path

import torch
import typer
from tokenizers import Tokenizer
from train import demo_config
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ropewalk.training.checkpoint import Checkpoint
from ropewalk.training.corpus import END_OF_TEXT

LOG_EVERY_STEPS = 50


def main(runs: list[Path], target: Path) -> None:
    """Write config, weights, tokenizer, recipe and a thinned training log into TARGET."""
    tokenizer = Tokenizer.from_file(str(runs[0] / "tokenizer.json"))
    model = LlamaForCausalLM(demo_config(tokenizer))
    steps = _average(model, runs)
    model.to(torch.bfloat16).save_pretrained(target)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, bos_token=END_OF_TEXT
    )
    fast.save_pretrained(target)
    longest = runs[steps.index(max(steps))]
    shutil.copy(longest / "recipe.json", target / "recipe.json")
    _write_log(longest / "log.jsonl", target / "training_log.csv")
    typer.echo(f"{' and '.join(map(str, steps))} steps exported to {target}")


@torch.no_grad()
def _average(model: LlamaForCausalLM, runs: list[Path]) -> list[int]:
    """Put the mean of the runs' weights into ``model``; the number of steps of each run."""
    steps, sums = [], {}
    for run in runs:
        steps.append(Checkpoint(run / "checkpoint.safetensors").restore(model, []))
        for name, parameter in model.named_parameters():
            sums[name] = sums.get(name, 0) + parameter.double() / len(runs)
    for name, parameter in model.named_parameters():
        parameter.copy_(sums[name])
    return steps


def _write_log(source: Path, target: Path) -> None:
    """Mean loss of every LOG_EVERY_STEPS steps; a resumed step counts as last logged."""
    records = {r["step"]: r for r in map(json.loads, source.read_text("utf-8").splitlines())}
    steps = sorted(records)
    lines = ["step,tokens,mean_loss_nats,lr,seconds"]
    for first in range(0, len(steps), LOG_EVERY_STEPS):
        block = [records[step] for step in steps[first : first + LOG_EVERY_STEPS]]
        last = block[-1]
        loss = sum(r["loss"] for r in block) / len(block)
        seconds = sum(r["seconds"] for r in block)
        lines.append(
            f"{last['step'] + 1},{last['tokens']},{loss:.4f},{last['lr']:.6f},{seconds:.1f}"
        )
    target.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
