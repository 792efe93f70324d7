"""The composition root: what the public Python names do with the rooms."""

from ropewalk.api.comparing import CompareResult, compare, plan_compare
from ropewalk.api.extending import extend, inspect
from ropewalk.api.measuring import perplexity
from ropewalk.api.verifying import verify, verify_stock

__all__ = [
    "CompareResult",
    "compare",
    "extend",
    "inspect",
    "perplexity",
    "plan_compare",
    "verify",
    "verify_stock",
]
