"""Sketch: how numbers are distributed, in exponential bins. Percentiles are within 0.55 % of a value that was seen."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import mul

MAX_BINS = 4_096
MAX_SCALE = 6
"""2^6 bins for each doubling."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A distribution that nobody changes: adding and merging give a new one.

    Bin ``i`` holds values in ``(2^((i-1)/2^scale), 2^(i/2^scale)]``; OTLP's and Prometheus' exponential histograms have
    the same bins (OTLP's index is one less). When bins would span more than 4,096, which takes 64 doublings (1e-9 to
    1e10, say), neighbours are joined in pairs, exactly as if they had been so from the start, and ``relative_error``
    doubles.

    >>> sketch = Sketch().with_values([0.5, 1.0, 2.0, 1000.0])
    >>> abs(sketch.percentile(0.75) / 2.0 - 1) < sketch.relative_error
    True

    Attributes:
        scale: bins for each doubling, as a power of two.
        bins: how many values are in each bin; do not change it.
        zeros: how many values were 0.
        smallest: the smallest value above 0.
        largest: the largest value.
    """

    scale: int = MAX_SCALE
    bins: dict[int, int] = field(default_factory=dict)
    zeros: int = 0
    smallest: float = math.inf
    largest: float = 0.0

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.zeros + sum(self.bins.values())

    @property
    def relative_error(self) -> float:
        """By how much a percentile may differ from the value of that rank, as a ratio: 0.0054 at the full scale."""
        return math.tanh(math.log(2) / 2 ** (self.scale + 1))

    def with_values(self, values: Sequence[float]) -> Sketch:
        """This one and ``values``, which are sorted, finite and not negative."""
        zeros = 0
        if values and values[0] == 0:
            zeros = values.count(0)
            values = values[zeros:]
        if not values:
            return Sketch(self.scale, self.bins, self.zeros + zeros, self.smallest, self.largest)
        # Loops in C throughout: this is most of what observing costs.
        indexes = map(math.ceil, map(mul, map(math.log2, values), repeat(2.0**self.scale)))
        bins = Counter(self.bins)
        bins.update(indexes)
        return _fitted(
            self.scale, bins, self.zeros + zeros, min(self.smallest, values[0]), max(self.largest, values[-1])
        )

    def merged(self, other: Sketch) -> Sketch:
        """Both together, the same as if one had got the values of both."""
        scale = min(self.scale, other.scale)
        bins = Counter(_joined(self.bins, self.scale - scale))
        for index, number in _joined(other.bins, other.scale - scale).items():
            bins[index] += number
        return _fitted(
            scale,
            bins,
            self.zeros + other.zeros,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
        )

    def since(self, earlier: Sketch) -> Sketch:
        """What came after ``earlier``: all values but its own.

        Percentiles are within ``relative_error`` as ever. Which value was the smallest and which the largest nobody
        knows any more: ``smallest`` and ``largest`` are bounds of theirs, each within a bin's width. Where ``earlier``
        has values that this one lacks, it is no earlier state of this one, and this one is given back as it is: a
        program that was started anew counts from zero.

        >>> before = Sketch().with_values([1.0, 3.0])
        >>> before.with_values([2.0, 50.0]).since(before).percentile(1.0)
        50.0
        """
        if not earlier.count:
            return self
        scale = min(self.scale, earlier.scale)
        bins = dict(_joined(self.bins, self.scale - scale))
        for index, number in _joined(earlier.bins, earlier.scale - scale).items():
            left = bins.pop(index, 0) - number
            if left < 0:
                return self
            if left:
                bins[index] = left
        zeros = self.zeros - earlier.zeros
        if zeros < 0:
            return self
        if not bins:
            return Sketch(scale, {}, zeros)
        per_doubling = 2.0**scale
        smallest = max(self.smallest, 2.0 ** ((min(bins) - 1) / per_doubling))
        end = max(bins) / per_doubling
        largest = min(self.largest, 2.0**end) if end < sys.float_info.max_exp else self.largest
        return Sketch(scale, bins, zeros, smallest, largest)

    def percentile(self, p: float) -> float:
        """The value of rank ``ceil(p * count)``, within ``relative_error``; 0.0 if there is none."""
        count = self.count
        if not count or not 0 <= p <= 1:
            return 0.0
        left = max(1, math.ceil(p * count)) - self.zeros
        if left <= 0:
            return 0.0
        for index in sorted(self.bins):
            left -= self.bins[index]
            if left <= 0:
                return self._middle(index)
        return self.largest

    def _middle(self, index: int) -> float:
        """The point of a bin that is equally far, as a ratio, from both its ends."""
        per_doubling = 2.0**self.scale
        lower: float = 2.0 ** ((index - 1) / per_doubling)
        growth: float = 2.0 ** (1 / per_doubling)
        return max(self.smallest, min(self.largest, lower * (2 * growth / (growth + 1))))


def _joined(bins: dict[int, int], times: int) -> dict[int, int]:
    """Bins at a scale that is lower by ``times``."""
    if times <= 0:
        return bins
    joined: Counter[int] = Counter()
    for index, number in bins.items():
        joined[-(-index >> times)] += number
    return joined


def _fitted(scale: int, bins: dict[int, int], zeros: int, smallest: float, largest: float) -> Sketch:
    """A sketch at the highest scale that holds the bins within ``MAX_BINS``; at scale 0 every float fits."""
    # The extremes tell the span without looking at each bin.
    first, last = (math.ceil(math.log2(value) * 2.0**scale) for value in (smallest, largest)) if bins else (0, 0)
    times = 0
    while -(-last >> times) - -(-first >> times) >= MAX_BINS:
        times += 1
    return Sketch(scale - times, _joined(bins, times), zeros, smallest, largest)
