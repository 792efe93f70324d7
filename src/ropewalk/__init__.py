"""Make transformer contexts longer, and prove that the result is right.

The names below are imported on first use: ``import ropewalk`` alone does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ropewalk.analysis.distances import relative_positions as relative_positions
    from ropewalk.api import adapt as adapt
    from ropewalk.api import audit as audit
    from ropewalk.api import compare as compare
    from ropewalk.api import export as export
    from ropewalk.api import extend as extend
    from ropewalk.api import inspect as inspect
    from ropewalk.api import perplexity as perplexity
    from ropewalk.api import plan as plan
    from ropewalk.api import plot as plot
    from ropewalk.api import report as report
    from ropewalk.api import search as search
    from ropewalk.api import train as train
    from ropewalk.api import verify as verify
    from ropewalk.api.loading import load as load
    from ropewalk.api.tuning import tune as tune
    from ropewalk.attention.reference import attend_reference as attend_reference
    from ropewalk.attention.tiled import attend as attend
    from ropewalk.configs.geometry import RopeGeometry as RopeGeometry
    from ropewalk.core.errors import RopewalkError as RopewalkError
    from ropewalk.core.rotation import rotate as rotate
    from ropewalk.integrations.asserting import RopewalkCallback as RopewalkCallback
    from ropewalk.integrations.asserting import assert_encoding as assert_encoding
    from ropewalk.methods.build import encoding as encoding
    from ropewalk.methods.table import METHODS as METHODS

_HOMES = {
    "METHODS": "ropewalk.methods.table",
    "RopeGeometry": "ropewalk.configs.geometry",
    "RopewalkCallback": "ropewalk.integrations.asserting",
    "RopewalkError": "ropewalk.core.errors",
    "adapt": "ropewalk.api",
    "assert_encoding": "ropewalk.integrations.asserting",
    "attend": "ropewalk.attention.tiled",
    "attend_reference": "ropewalk.attention.reference",
    "audit": "ropewalk.api",
    "compare": "ropewalk.api",
    "encoding": "ropewalk.methods.build",
    "export": "ropewalk.api",
    "extend": "ropewalk.api",
    "inspect": "ropewalk.api",
    "load": "ropewalk.api.loading",
    "perplexity": "ropewalk.api",
    "plan": "ropewalk.api",
    "plot": "ropewalk.api",
    "relative_positions": "ropewalk.analysis.distances",
    "report": "ropewalk.api.reporting",
    "rotate": "ropewalk.core.rotation",
    "search": "ropewalk.api",
    "train": "ropewalk.api",
    "tune": "ropewalk.api.tuning",
    "verify": "ropewalk.api",
}

__all__ = [
    "METHODS",
    "RopeGeometry",
    "RopewalkCallback",
    "RopewalkError",
    "adapt",
    "assert_encoding",
    "attend",
    "attend_reference",
    "audit",
    "compare",
    "encoding",
    "export",
    "extend",
    "inspect",
    "load",
    "perplexity",
    "plan",
    "plot",
    "relative_positions",
    "report",
    "rotate",
    "search",
    "train",
    "tune",
    "verify",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from ropewalk.storage.version import code_version

        return code_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])
