"""What an audit holds against one engine, before and after a document of it is applied."""

import ropewalk as rw
from ropewalk.engines.patch import is_flat
from ropewalk.integrations.folders import patched


def errors(config, engine, length):
    """The ids of the errors that name the engine, and whether it raises itself."""
    audit = rw.audit(config, length)
    own = (f for f in audit["findings"] if f["severity"] == "error" and engine in f["engines"])
    raises = {"raises"} if audit["engines"][engine]["error"] else set()
    return {f["id"] for f in own} | raises


def merged(config, keys):
    """As SGLang merges an override: a flat rope dict into the flat one that stands there."""
    found = {
        k: v for k, v in config.items() if k != "rope_scaling" or "rope_parameters" not in keys
    }
    for key, value in keys.items():
        old = found.get(key)
        section = isinstance(value, dict) and isinstance(old, dict)
        if section and key == "rope_parameters":
            section = is_flat(value) and is_flat(old)
        found[key] = merged(old, value) if section else value
    return found


def written(config, engine, document):
    """The config as ``engine`` has it under the document of an export."""
    if engine == "sglang":
        return merged(config, document["config"])
    return patched(config, document["config"], document["remove"])
