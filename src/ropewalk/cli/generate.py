"""``ropewalk generate``: text from a model under any method."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ropewalk.cli.generate_options import (
    Chat,
    MaxNewTokens,
    Prompt,
    PromptFile,
    Seed,
    Temperature,
)
from ropewalk.cli.options import Json, Method, Model
from ropewalk.cli.output import print_json
from ropewalk.cli.prompts import chat_ids, plain_ids, read_prompt
from ropewalk.core.errors import RopewalkError
from ropewalk.data import demo_model
from ropewalk.integrations.sources import locate

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig, PreTrainedTokenizerBase, TextStreamer

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
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    chat: Chat = False,
    method: Method = None,
    max_new_tokens: MaxNewTokens = 64,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Continue a prompt, with any method. Text streams to standard output."""
    text = read_prompt(prompt, prompt_file)
    source = model or demo_model()
    locate(source)  # a mistyped path is answered before the heavy imports
    from ropewalk.opening.checkpoints import open_checkpoint

    loaded = open_checkpoint(source)
    if not loaded.model.can_generate():
        raise RopewalkError(f"{loaded.name} writes no text: expected a causal language model")
    tokenizer = loaded.require_tokenizer()
    ids = chat_ids(tokenizer, text) if chat else plain_ids(tokenizer, text)
    settings = _settings(loaded, max_new_tokens, temperature)
    with _extended(loaded, method):
        new = _written(loaded, ids, settings, seed, _silent if as_json else _streaming)
    if as_json:
        print_json(
            {
                "model": loaded.name,
                "method": method or _own_name(loaded),
                "prompt": text,
                "text": tokenizer.decode(new, skip_special_tokens=True),
                "tokens": new,
            }
        )


def _written(
    loaded: "LoadedModel",
    ids: "Tensor",
    settings: "GenerationConfig",
    seed: int,
    streamer: Callable[["PreTrainedTokenizerBase"], Any],
) -> list[int]:
    """The new tokens after ``ids`` ``[1, n]``; a streamer is told each at once."""
    import torch

    torch.manual_seed(seed)
    writer: Any = loaded.model  # the library's base class has no generate
    output = writer.generate(
        ids.to(loaded.model.device),
        generation_config=settings,
        streamer=streamer(loaded.require_tokenizer()),
    )
    new: list[int] = output[0, ids.shape[-1] :].tolist()
    return new


def _silent(tokenizer: "PreTrainedTokenizerBase") -> None:
    """No streamer."""


def _streaming(tokenizer: "PreTrainedTokenizerBase") -> "TextStreamer":
    from transformers import TextStreamer

    return TextStreamer(tokenizer, skip_prompt=True)


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
