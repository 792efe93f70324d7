"""``ropewalk generate``: text from a model under any method."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ropewalk.cli.options import Json, Method, Model
from ropewalk.cli.output import print_json
from ropewalk.cli.prompts import chat_ids, plain_ids, read_prompt
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.integrations.sources import locate

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from ropewalk.integrations.loading import LoadedModel

GENERATE_EXAMPLES = """\b
Examples:
  ropewalk generate --prompt "Call me"
  ropewalk generate ./my-model --prompt-file book.txt --method yarn:factor=4
  ropewalk generate ./my-model --chat --prompt "What is a ropewalk?"
  cat book.txt | ropewalk generate ./my-model --prompt - --method yarn:factor=4
"""


def generate(
    model: Model = None,
    *,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", show_default=False, help="Text to continue; - reads standard input."
        ),
    ] = None,
    prompt_file: Annotated[
        Path | None,
        typer.Option(
            "--prompt-file", metavar="FILE", show_default=False, help="UTF-8 text to continue."
        ),
    ] = None,
    chat: Annotated[
        bool,
        typer.Option("--chat", help="The prompt is a user's turn, in the model's own template."),
    ] = False,
    method: Method = None,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Stop after this many tokens.")
    ] = 64,
    temperature: Annotated[
        float, typer.Option(metavar="T", min=0.0, help="0 takes the likeliest token each time.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling, at a temperature above 0.")] = 0,
    as_json: Json = False,
) -> None:
    """Continue a prompt, with any method. Text streams to standard output."""
    text = read_prompt(prompt, prompt_file)
    source = model or demo_model()
    locate(source)  # a mistyped path is answered before the heavy imports
    import torch
    from transformers import TextStreamer

    from ropewalk.opening.checkpoints import open_checkpoint

    loaded = open_checkpoint(source)
    if not loaded.model.can_generate():
        raise RopewalkError(f"{loaded.name} writes no text: expected a causal language model")
    tokenizer = loaded.require_tokenizer()
    ids = chat_ids(tokenizer, text) if chat else plain_ids(tokenizer, text)
    streamer = None if as_json else TextStreamer(tokenizer, skip_prompt=True)
    torch.manual_seed(seed)
    writer: Any = loaded.model  # the library's base class has no generate
    with _extended(loaded, method):
        output = writer.generate(
            ids.to(loaded.model.device),
            generation_config=_settings(loaded, max_new_tokens, temperature),
            streamer=streamer,
        )
    if as_json:
        new = output[0, ids.shape[-1] :].tolist()
        print_json(
            {
                "model": loaded.name,
                "method": method or _own_name(loaded),
                "prompt": text,
                "text": tokenizer.decode(new, skip_special_tokens=True),
                "tokens": new,
            }
        )


def _extended(loaded: "LoadedModel", method: str | None) -> AbstractContextManager[object]:
    if method is None and loaded.method is None:
        return nullcontext()
    from ropewalk.integrations.session import extend_with
    from ropewalk.methods.sidecar import in_force
    from ropewalk.methods.spec import NATIVE, parse_spec

    return extend_with(loaded.model, in_force(parse_spec(method or NATIVE), loaded.method))


def _own_name(loaded: "LoadedModel") -> str:
    return "native" if loaded.method is None else loaded.method.text


def _settings(loaded: "LoadedModel", max_new_tokens: int, temperature: float) -> "GenerationConfig":
    """Plain greedy or plain sampling, whatever the checkpoint's own generation settings say."""
    from transformers import GenerationConfig

    own = loaded.model.generation_config
    eos = loaded.require_tokenizer().eos_token_id if own is None else own.eos_token_id
    first_eos = eos[0] if isinstance(eos, list) else eos
    sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=temperature > 0,
        eos_token_id=eos,
        pad_token_id=0 if first_eos is None else first_eos,
        **sampling,
    )
