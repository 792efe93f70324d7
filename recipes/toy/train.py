"""Train the toy model, which can look tokens up: a transformers Llama, trained length 256.

    python -m recipes.toy.train RUN_FOLDER --steps 1500

The tokenizer is the demo model's, cut to its first merges. May be killed and started again at any
time, as ``recipes/demo/train.py``.
"""

import json
from pathlib import Path

import numpy as np
import torch
import typer
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from recipes.toy.streams import streams
from ropewalk.data import demo_model
from ropewalk.training.corpus import Windows
from ropewalk.training.schedule import WarmupStableDecay
from ropewalk.training.trainer import Recipe, causal_loss, train

VOCAB_SIZE = 512
TRAINED_LENGTH = 256
LOOK_BACK = 5.0
CORPUS_TOKENS = 8_000_000
SEED = 1891


def main(run: Path, steps: int = 1500, threads: int = 1) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    run.mkdir(parents=True, exist_ok=True)
    tokenizer = toy_tokenizer()
    tokenizer.save(str(run / "tokenizer.json"))
    separators = tokenizer.token_to_id(":"), tokenizer.token_to_id(",")
    pool = np.setdiff1d(np.arange(1, VOCAB_SIZE), separators)
    tokens = streams(CORPUS_TOKENS, pool, separators, SEED)
    model = LlamaForCausalLM(toy_config())
    for head, back in enumerate((1, 2)):
        look_back(model, head, back)
    typer.echo(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    recipe = Recipe(
        windows=Windows(length=TRAINED_LENGTH, batch_size=8, seed=SEED),
        schedule=WarmupStableDecay(total_steps=steps),
    )
    for record in train(model, causal_loss(model), tokens, recipe, run):
        if record.step % 25 == 0:
            typer.echo(
                f"step {record.step}/{steps}  loss {record.loss:.3f}  {record.seconds:.2f} s"
            )


def toy_tokenizer() -> Tokenizer:
    """The demo model's byte-level BPE without its last entries: the BPE of a smaller vocabulary."""
    content = json.loads((demo_model() / "tokenizer.json").read_text("utf-8"))
    vocabulary = content["model"]["vocab"]
    kept = {token: number for token, number in vocabulary.items() if number < VOCAB_SIZE}
    dropped = len(vocabulary) - VOCAB_SIZE
    content["model"] |= {"vocab": kept, "merges": content["model"]["merges"][:-dropped]}
    return Tokenizer.from_str(json.dumps(content))


@torch.no_grad()
def look_back(model: LlamaForCausalLM, head: int, back: int) -> None:
    """Begin with a head of the first layer that looks ``back`` tokens back.

        score(m, n) = a^2 sum_f cos((m - n - back) theta_f),  by the biases of query and key alone

    Finding such heads takes most of the training otherwise; what they are for is learned.
    """
    attention, config = model.model.layers[0].self_attn, model.config
    theta = model.model.rotary_emb.inv_freq
    pairs = len(theta)
    first = head * config.head_dim
    attention.q_proj.bias[first : first + pairs] = LOOK_BACK
    attention.k_proj.bias[first : first + pairs] = LOOK_BACK * torch.cos(back * theta)
    attention.k_proj.bias[first + pairs : first + 2 * pairs] = LOOK_BACK * torch.sin(back * theta)


def toy_config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=TRAINED_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        attention_bias=True,
        attn_implementation="eager",
        bos_token_id=0,
        eos_token_id=0,
    )


if __name__ == "__main__":
    typer.run(main)
