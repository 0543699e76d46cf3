"""
What a sample of bytes looks like in numbers, each beside what a perfect source would show.

Pure, and for people: nothing here decides what is used; `health` does.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import groupby

from oracle.entropy.health import WINDOW, Health, examine

VALUES = 256
LAGS = 128
#: Below this a histogram of bytes says nothing.
SAMPLE_MIN = 4096
# The 99 % bound of SP 800-90B section 6.3.1, step 2.
_Z_99 = 2.576
# How far the largest of 256 normal deviates lies above their mean, on average.
_LARGEST_OF_256 = 2.82
_ODD_DEVIATIONS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    The numbers of one sample of at least `SAMPLE_MIN` bytes.
    """

    n_bytes: int
    ones: int
    counts: tuple[int, ...]  #: how often each of the 256 values came
    correlations: tuple[float, ...]  #: of the bits, at the distances 1 to `LAGS`
    runs: tuple[int, ...]  #: how many runs of 1, 2, … equal bytes
    matches: tuple[int, ...]  #: of each whole window, how often its first byte came
    health: str  #: what the continuous health tests say

    @property
    def n_bits(self) -> int:
        """
        Return the size in bits.
        """
        return 8 * self.n_bytes

    @property
    def longest_run(self) -> int:
        """
        Return how often a byte came in a row, at most.
        """
        return len(self.runs)

    @property
    def most_matches(self) -> int:
        """
        Return how often the first byte of a window came in it, at most.
        """
        return max(self.matches)

    @property
    def monobit_z(self) -> float:
        """
        Return by how many standard deviations there are more ones than zeros.
        """
        return (2 * self.ones - self.n_bits) / math.sqrt(self.n_bits)

    @property
    def monobit_p(self) -> float:
        """
        Return how often a perfect source is at least as lopsided (SP 800-22 section 2.1).
        """
        return math.erfc(abs(self.monobit_z) / math.sqrt(2))

    @property
    def expected_count(self) -> float:
        """
        Return how often each value would come.
        """
        return self.n_bytes / VALUES

    @property
    def count_band(self) -> float:
        """
        Return three standard deviations of such a count.
        """
        return 3 * math.sqrt(self.expected_count * (1 - 1 / VALUES))

    @property
    def counts_outside(self) -> int:
        """
        Return how many values came too often or too seldom for the band; 0.7 do on average.
        """
        return sum(abs(one - self.expected_count) > self.count_band for one in self.counts)

    def correlation_band(self, lag: int) -> float:
        """
        Return three standard deviations of the correlation at a distance in bits.
        """
        return 3 / math.sqrt(self.n_bits - lag)

    @property
    def correlations_outside(self) -> int:
        """
        Return how many correlations are outside the band; 0.35 are on average.
        """
        return sum(
            abs(one) > self.correlation_band(lag) for lag, one in enumerate(self.correlations, 1)
        )

    @property
    def min_entropy(self) -> float:
        """
        Return the most common value estimate of SP 800-90B section 6.3.1, in bits a byte.
        """
        return _most_common_value(max(self.counts), self.n_bytes)

    @property
    def min_entropy_expected(self) -> float:
        """
        Return about what that estimate is for a perfect source and a sample of this size.
        """
        most = self.expected_count + _LARGEST_OF_256 * self.count_band / 3
        return _most_common_value(most, self.n_bytes)


def measure(sample: bytes) -> Figures:
    """
    Return the numbers of a sample; it must have `SAMPLE_MIN` bytes.
    """
    if len(sample) < SAMPLE_MIN:
        raise ValueError(f"A sample has {SAMPLE_MIN} bytes or more.")
    counted = Counter(sample)
    bits, n_bits = int.from_bytes(sample, "big"), 8 * len(sample)
    lengths = Counter(sum(1 for _ in run) for _, run in groupby(sample))
    windows = [sample[at : at + WINDOW] for at in range(0, len(sample) - WINDOW + 1, WINDOW)]
    return Figures(
        n_bytes=len(sample),
        ones=bits.bit_count(),
        counts=tuple(counted[value] for value in range(VALUES)),
        correlations=tuple(_correlation(bits, n_bits, lag) for lag in range(1, LAGS + 1)),
        runs=tuple(lengths[length] for length in range(1, max(lengths) + 1)),
        matches=tuple(window.count(window[0]) for window in windows),
        health=str(examine(Health(), sample)[1]),
    )


def odd(figures: Figures) -> list[str]:
    """
    Name what is further off than a perfect source ever is: beyond seven standard deviations.
    """
    far = _ODD_DEVIATIONS / 3
    found = {
        "ones and zeros": abs(figures.monobit_z) > _ODD_DEVIATIONS,
        "byte values": any(
            abs(one - figures.expected_count) > far * figures.count_band for one in figures.counts
        ),
        "correlation": any(
            abs(one) > far * figures.correlation_band(lag)
            for lag, one in enumerate(figures.correlations, 1)
        ),
    }
    return [name for name, is_odd in found.items() if is_odd]


def _correlation(bits: int, n_bits: int, lag: int) -> float:
    """
    Return the share of bits that equal the one `lag` later, less the share of those that do not.
    """
    pairs = n_bits - lag
    unequal = ((bits ^ (bits >> lag)) & ((1 << pairs) - 1)).bit_count()
    return 1 - 2 * unequal / pairs


def _most_common_value(most: float, n_bytes: int) -> float:
    share = most / n_bytes
    bound = min(1.0, share + _Z_99 * math.sqrt(share * (1 - share) / (n_bytes - 1)))
    return -math.log2(bound) + 0.0
