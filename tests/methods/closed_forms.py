"""Position maps in closed form: the distance shown to query m and key n."""

import torch


def rerope(window):
    return lambda m, n: min(m - n, window)


def leaky(window, slope):
    return lambda m, n: m - n if m - n < window else window + (m - n - window) / slope


def self_extend(group, window):
    shift = window - window // group
    return lambda m, n: m - n if m - n < window else m // group - n // group + shift


def longlm(group, window):
    shift = window - window / group
    return lambda m, n: m - n if m - n < window else m // group - n // group + shift


def dual_chunk(size, window):
    largest = size + window - 1

    def distance(m, n):
        apart = m // size - n // size
        query = (m % size, min(m % size + size, largest), largest)[min(apart, 2)]
        return query - n % size

    return distance


def string(shift, window):
    return lambda m, n: m - n if m - n < shift else m - n - shift + window


def vectors(length, width=16):
    generator = torch.Generator().manual_seed(0)
    return [
        2 * torch.randn(1, 1, length, width, generator=generator, dtype=torch.float64)
        for _ in range(3)
    ]
