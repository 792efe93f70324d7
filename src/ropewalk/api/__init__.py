"""The composition root: what the public Python names do with the rooms."""

from ropewalk.api import plot
from ropewalk.api.adapting import adapt
from ropewalk.api.auditing import audit
from ropewalk.api.exporting import export
from ropewalk.api.extending import extend, inspect
from ropewalk.api.measuring import compare, perplexity, plan_compare
from ropewalk.api.planning import plan
from ropewalk.api.reporting import report
from ropewalk.api.searching import search
from ropewalk.api.verification import verify, verify_stock
from ropewalk.comparing.result import CompareResult
from ropewalk.training.run import train

__all__ = [
    "CompareResult",
    "adapt",
    "audit",
    "compare",
    "export",
    "extend",
    "inspect",
    "perplexity",
    "plan",
    "plan_compare",
    "plot",
    "report",
    "search",
    "train",
    "verify",
    "verify_stock",
]
