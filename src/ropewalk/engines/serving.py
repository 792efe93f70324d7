"""What vLLM and SGLang read alike: SGLang's rotary classes descend from vLLM's."""

from ropewalk.engines.reading import EngineRaises, Reading

BETAS = ("beta_fast", "beta_slow")


def linear_factor(reading: Reading) -> float:
    """factor; what is not a float is taken for a list of factors, and iterated.

    Source: vLLM 0.33.0 linear_scaling_rope.py, SGLang 0.5.23 rotary_embedding/base.py.
    """
    factor = reading.rope.get("factor")
    if not isinstance(factor, float):
        raise EngineRaises(f"TypeError: '{type(factor).__name__}' object is not iterable")
    return factor


def yarn_factor(reading: Reading) -> float:
    """factor; EngineRaises what ``yarn_get_mscale`` raises for null."""
    return reading.required(
        "factor", "TypeError: '<=' not supported between instances of 'NoneType' and 'int'"
    )


def betas(reading: Reading) -> tuple[float, float]:
    """beta_fast and beta_slow; a stated 0 is divided by.

    Source: vLLM 0.33.0 rotary_embedding/common.py and SGLang 0.5.23 rotary_embedding/yarn.py,
        yarn_find_correction_dim (transformers takes 0 as absent).
    """
    fast, slow = (
        default if reading.number(name) is None else reading.number(name)
        for name, default in zip(BETAS, (32.0, 1.0), strict=True)
    )
    if fast == 0 or slow == 0:
        raise EngineRaises("ZeroDivisionError: float division by zero")
    return float(fast or 0), float(slow or 0)
