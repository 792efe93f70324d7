"""How a run was measured: the exact config, the texts, the machines and the commits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ropewalk.reporting.run_record import RunRecord
from ropewalk.storage.origins import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values. ``made`` has one list of them for each machine and state of the code."""

    setting: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str, str], ...]
    made: tuple[tuple[tuple[str, str], ...], ...]
    config: str | None


def facts(run: RunRecord) -> Facts:
    """What the folder says of itself; what an older run did not keep is left out."""
    manifest = run.manifest
    named = {
        "Model": run.document["model"],
        "Trained length": f"{run.document['trained_length']:,} tokens",
        "Protocol": run.document["protocol"],
        "Dtype": manifest.get("dtype"),
        "Ropewalk": manifest.get("version"),
        "Weights and config (sha256)": manifest.get("weights"),
        "Run folder": run.name,
    }
    return Facts(
        setting=tuple((name, str(value)) for name, value in named.items() if value is not None),
        texts=tuple(
            (text["name"], f"{text['tokens']:,}", text["sha256"])
            for text in manifest.get("documents", ())
        ),
        made=tuple(map(_made, run.origins)),
        config=None if run.config is None else json.dumps(run.config, indent=2, sort_keys=True),
    )


def _made(origin: Origin) -> tuple[tuple[str, str], ...]:
    memory = origin.get("memory_bytes")
    named: Mapping[str, object] = {
        "Commit": origin.get("commit") or "not known: not run from a clone",
        "Processor": f"{origin.get('processor')}, {origin.get('cores')} cores",
        "Accelerator": origin.get("accelerator") or "none",
        "Memory": None if memory is None else f"{int(memory) / 2**30:.1f} GiB",
        "System": origin.get("system"),
        "Versions": ", ".join(
            f"{name} {origin[name]}"
            for name in ("ropewalk", "python", "torch", "transformers", "tokenizers", "numpy")
            if origin.get(name)
        ),
    }
    return tuple((name, str(value)) for name, value in named.items() if value is not None)
