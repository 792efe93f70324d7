"""Train the demo model: an ordinary transformers Llama, trained length 256.

    python recipes/demo/train.py TEXTS_FOLDER RUN_FOLDER --steps 3000

May be killed and started again at any time. Started again with another ``--steps``
before the decay began, it goes on with the new total.
"""

from pathlib import Path

import torch
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from ropewalk.training.corpus import END_OF_TEXT, Windows, encode_files, train_tokenizer
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, causal_loss, train

VOCAB_SIZE = 4096
TRAINED_LENGTH = 256
SEED = 1851


def main(texts: Path, run: Path, steps: int = 3000, threads: int = 2) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    run.mkdir(parents=True, exist_ok=True)
    files = sorted(texts.glob("*.txt"))
    tokenizer = _tokenizer(files, run / "tokenizer.json")
    tokens = encode_files(tokenizer, files)
    model = LlamaForCausalLM(demo_config(tokenizer))
    parameters = sum(p.numel() for p in model.parameters())
    typer.echo(f"{len(tokens):,} tokens, {parameters:,} parameters")
    recipe = Recipe(
        windows=Windows(length=TRAINED_LENGTH, batch_size=32, seed=SEED),
        schedule=WarmupStableDecay(total_steps=steps),
    )
    columns = (
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("training", total=steps)
        for record in train(model, torch.compile(causal_loss(model)), tokens, recipe, run):
            text = f"step {record.step + 1}/{steps}  loss {record.loss:.3f}"
            progress.update(bar, completed=record.step + 1, description=text)
    model.save_pretrained(run / "model")


def _tokenizer(files: list[Path], path: Path) -> Tokenizer:
    if not path.exists():
        train_tokenizer(files, VOCAB_SIZE).save(str(path))
    return Tokenizer.from_file(str(path))


def demo_config(tokenizer: Tokenizer) -> LlamaConfig:
    end = tokenizer.token_to_id(END_OF_TEXT)
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=320,
        intermediate_size=864,
        num_hidden_layers=5,
        num_attention_heads=5,
        num_key_value_heads=5,
        head_dim=64,
        max_position_embeddings=TRAINED_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        attn_implementation="eager",  # compiles to faster code than sdpa at 256 tokens
        bos_token_id=end,
        eos_token_id=end,
    )


if __name__ == "__main__":
    typer.run(main)
