"""Random whole numbers that are the same on every machine.

Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators, fig. 17.
        https://doi.org/10.1145/2660193.2660195
"""
from collections.abc import Callable


def dice(seed: int) -> Callable[[int], int]:
    """A function that throws an even die with n faces, 0 to n - 1. Whole numbers only (SplitMix64)."""
    state = seed % 2**64

    def below(n: int) -> int:
        nonlocal state
        while True:
            state = (state + 0x9E3779B97F4A7C15) % 2**64
            x = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
            x ^= x >> 31
            if x < 2**64 - 2**64 % n:  # the rest would favour the low faces
                return x % n

    return below
