"""Save a checkpoint as a folder whose config names a shorter trained length.

    python -m recipes.verify.shorten SmolLM2-135M-Instruct.Q4_1.gguf runs/smollm2-1024 --length 1024
    ropewalk verify runs/smollm2-1024 --out runs/verify-1024 --json > docs/results/verify-1024.json

Whether one result comes of every way to feed tokens does not depend on what a model was trained
with: the same weights under a shorter length take the same path, at an eighth of the cost and less.
"""

from pathlib import Path

import typer

from ropewalk.opening.checkpoints import open_checkpoint


def main(checkpoint: Path, folder: Path, *, length: int = 1024) -> None:
    loaded = open_checkpoint(checkpoint, device="cpu").model
    settings = {**loaded.config.to_dict(), "max_position_embeddings": length}
    # What comes from a .gguf file counts as quantized to the library, which refuses to save it.
    settings.pop("quantization_config", None)
    model = type(loaded)(type(loaded.config).from_dict(settings))
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)


if __name__ == "__main__":
    typer.run(main)
