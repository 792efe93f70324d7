"""Where a checkpoint lies: a folder, a .gguf file, a config.json or a hub id.

Imports neither torch nor transformers, so that a mistyped path is answered at once.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ropewalk.core.errors import RopewalkError

HUB_TIMEOUT_SECONDS = 3.0
HUB_FILES = ("*.json", "model*.safetensors", "*.model", "*.txt", "*.jinja")
EXPECTED = "expected a transformers folder, a .gguf file or a hub id"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Files on this machine.

    folder     holds config.json and weights, or the .gguf file
    gguf_file  name of the .gguf file in ``folder``; None for a transformers folder
    name       what reports call the model
    """

    folder: Path
    gguf_file: str | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A config.json without its weights."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HubId:
    """A repository of the hub, perhaps not on this machine."""

    repo_id: str


Source = Checkpoint | ConfigFile | HubId


def locate(source: str | Path) -> Source:
    """Tell the kinds of source apart without touching the network.

    Raises RopewalkError for a path that does not exist, a file of an unknown kind, or a
    name that is neither a path nor a hub id.
    """
    if source == "":  # not the current folder, which pathlib makes of it
        raise RopewalkError(f"{source!r}: neither a path nor a hub id; {EXPECTED}")
    path = Path(source).expanduser()
    if path.is_dir():
        return Checkpoint(folder=path, gguf_file=None, name=path.resolve().name)
    if path.suffix == ".gguf" and path.is_file():
        return _gguf_checkpoint(path)
    if path.suffix == ".json" and path.is_file():
        return ConfigFile(path=path)
    if path.exists():
        raise RopewalkError(f"{source}: not a model that can be read; {EXPECTED}")
    if isinstance(source, Path) or _looks_like_path(source):
        raise RopewalkError(f"{source}: no such file or folder; {EXPECTED}")
    if not _HUB_ID.fullmatch(source):
        raise RopewalkError(f"{source!r}: neither a path nor a hub id; {EXPECTED}")
    return HubId(repo_id=source)


def fetch(source: str | Path) -> Checkpoint:
    """The checkpoint of ``source`` on this machine; a hub id is downloaded if need be.

    Raises RopewalkError as ``locate`` does, for a config.json alone, and for a hub id that
    is neither in the local cache nor to be had.
    """
    match locate(source):
        case Checkpoint() as checkpoint:
            return checkpoint
        case ConfigFile(path=path):
            raise RopewalkError(
                f"{path}: a config has no weights; expected a model; give the folder or .gguf file"
            )
        case HubId(repo_id=repo_id):
            cached = _cached(repo_id)
            complete = cached is not None and has_weights(cached)
            folder = cached if cached and complete else _download(repo_id, HUB_FILES)
            return Checkpoint(folder=folder, gguf_file=None, name=repo_id)


def config_file(source: Source) -> Path:
    """The config.json of a source that has one; that of a hub id is downloaded if need be."""
    match source:
        case ConfigFile(path=path):
            return path
        case Checkpoint(folder=folder):
            path = folder / "config.json"
            if not path.is_file():
                raise RopewalkError(_without_config(folder))
            return path
        case HubId(repo_id=repo_id):
            cached = _cached(repo_id)
            complete = cached is not None and (cached / "config.json").is_file()
            folder = cached if cached and complete else _download(repo_id, ("config.json",))
            return config_file(Checkpoint(folder=folder, gguf_file=None, name=repo_id))


def read_config(path: Path) -> dict[str, Any]:
    """A config.json as a dict, its sizes checked.

    Raises RopewalkError if it is not UTF-8, not JSON, not an object, or holds absurd sizes.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RopewalkError(f"{path}: not JSON ({error}); expected a config.json") from error
    except OSError as error:
        raise RopewalkError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(config, dict):
        raise RopewalkError(
            f"{path}: holds a JSON {type(config).__name__}; expected an object, as in config.json"
        )
    _check_sizes(config, path)
    return config


def has_weights(folder: Path) -> bool:
    """Whether the folder holds safetensors weights, all shards of them."""
    return any(folder.glob("model*.safetensors")) and not _missing_shards(folder)


def require_weights(folder: Path) -> None:
    """Raise RopewalkError, with the remedy, unless ``has_weights``."""
    if missing := _missing_shards(folder):
        raise RopewalkError(
            f"{folder}: {len(missing)} weight files of model.safetensors.index.json are missing "
            f"({missing[0]} first); expected all; download the folder again"
        )
    if has_weights(folder):
        return
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        raise RopewalkError(f"{folder}: no safetensors weights; give the file: {ggufs[0]}")
    if any(True for pattern in _PICKLES for _ in folder.glob(pattern)):
        raise RopewalkError(
            f"{folder}: only pickled weights, which can run code and are never read; expected "
            "model*.safetensors; convert with save_pretrained or get the safetensors revision"
        )
    raise RopewalkError(f"{folder}: no weights; expected model*.safetensors or a .gguf file")


# Sizes far above any checkpoint's: what lies beyond is a typing error, and would otherwise
# end in hours of allocation.
_LARGEST = {
    "num_hidden_layers": 2**12,
    "n_layer": 2**12,
    "hidden_size": 2**20,
    "n_embd": 2**20,
    "intermediate_size": 2**24,
    "num_attention_heads": 2**14,
    "num_key_value_heads": 2**14,
    "n_head": 2**14,
    "head_dim": 2**16,
    "vocab_size": 2**28,
    "max_position_embeddings": 2**40,
    "n_positions": 2**40,
}


def _check_sizes(config: Mapping[str, Any], path: Path) -> None:
    for key, largest in _LARGEST.items():
        value = config.get(key)
        # Some families give one size a layer, as a list.
        for size in value if isinstance(value, list) else [value]:
            if size is None:
                continue
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= largest:
                raise RopewalkError(f"{path}: {key}={size!r}: expected an integer, 1 to {largest}")
    if isinstance(config.get("text_config"), dict):
        _check_sizes(config["text_config"], path)


def _gguf_checkpoint(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise RopewalkError(f"{path}: not a GGUF file (it begins with {magic!r}); {EXPECTED}")
    return Checkpoint(folder=path.parent, gguf_file=path.name, name=path.stem)


def _looks_like_path(source: str) -> bool:
    return (
        source.startswith((".", "/", "~"))
        or source.endswith((".gguf", ".json", "/"))
        or source.count("/") > 1
        or "\\" in source
    )


def _without_config(folder: Path) -> str:
    ggufs = sorted(folder.glob("*.gguf"))
    remedy = f"give the file: {ggufs[0]}" if ggufs else "is this the model's folder?"
    return f"{folder}: no config.json; expected a transformers folder; {remedy}"


def _missing_shards(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RopewalkError(f"{index}: not an index of weight files; download it again") from error
    return sorted(name for name in shards if not (folder / name).is_file())


def _cached(repo_id: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise RopewalkError(f"{repo_id!r}: neither a path nor a hub id; {EXPECTED}") from error


def _download(repo_id: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    with _hub_errors(repo_id):
        # One short question first: the download itself would retry for half a minute.
        HfApi().model_info(repo_id, timeout=HUB_TIMEOUT_SECONDS)
        return Path(snapshot_download(repo_id, allow_patterns=list(files)))


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise RopewalkError(
            f"{repo_id}: the hub wants its licence accepted; accept it there, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise RopewalkError(
            f"{repo_id}: no such folder, and no such model on the hub; {EXPECTED}"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise RopewalkError(f"{repo_id}: the hub answered {status}; try again later") from error
    except Exception as error:
        # A full disk is the caller's message; all else means that the network is not there, and
        # its exception types are those of whichever HTTP library the hub client uses.
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        state = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub is out of reach"
        raise RopewalkError(
            f"{repo_id}: no such folder, not in the local hub cache, and {state}; "
            "check the name, give a local folder or .gguf file, or go online"
        ) from error
