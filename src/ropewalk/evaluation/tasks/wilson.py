"""Wilson's interval of a share: right for few trials, and for none or all of them.

    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference,
Journal of the American Statistical Association 22, 209-212.
"""

import math

Z_95 = 1.959963984540054


def wilson(count: float, trials: float) -> tuple[float, float]:
    """95 % interval of ``count`` among ``trials``, at least 1 of them."""
    share, square = count / trials, Z_95**2 / trials
    centre = share + square / 2
    spread = Z_95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    low, high = (centre - spread) / (1 + square), (centre + spread) / (1 + square)
    return (0.0 if count == 0 else low), (1.0 if count == trials else high)
