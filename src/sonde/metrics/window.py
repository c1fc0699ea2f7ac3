"""Window: how the values of the last minute are distributed, for live views. Observing costs nothing more for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import ConfigError
from sonde.metrics.histogram import Histogram, HistogramSnapshot

SLICES = 60
"""Parts of a window that are told apart."""


@dataclass(frozen=True, slots=True)
class WindowReading:
    """What was observed in a span of time.

    Attributes:
        covered_s: how long the span was, in seconds.
        values: the count, sum, buckets and distribution of it.
    """

    covered_s: float
    values: HistogramSnapshot

    @property
    def count(self) -> int:
        """How many values were observed."""
        return self.values.count

    @property
    def sum(self) -> float:
        """Their sum."""
        return self.values.sum

    @property
    def rate_per_s(self) -> float:
        """Values a second; 0.0 while no time is covered."""
        return self.count / self.covered_s if self.covered_s > 0 else 0.0

    def percentile(self, p: float) -> float:
        """The value of rank ``ceil(p * count)``, as near as :meth:`Histogram.percentile` comes; 0.0 without values."""
        return self.values.percentile(p)

    @property
    def p50(self) -> float:
        """The median."""
        return self.percentile(0.5)

    @property
    def p90(self) -> float:
        """The value that 90 % do not exceed."""
        return self.percentile(0.9)

    @property
    def p99(self) -> float:
        """The value that 99 % do not exceed."""
        return self.percentile(0.99)


class _Slice(NamedTuple):
    at_s: float
    before: HistogramSnapshot


class Window:
    """Percentiles of what a histogram observed lately: it remembers what the histogram had at earlier reads.

    It begins when it is made. A read covers what was observed since the latest remembered moment that is ``seconds`` or
    more ago, and says how long that is (``covered_s``): less than ``seconds`` at first, then up to a sixtieth more, or
    up to one interval between reads where these are further apart. At most 61 moments are remembered, however often it
    is read; each takes some 100 bytes for each bin in use.

    Any thread may read it, several at a time: nothing blocks. A read costs a fold of the histogram and the subtraction,
    some 0.1 to 1 ms.

    >>> from sonde.clock import ManualClock
    >>> clock, latency = ManualClock(), Histogram("model_latency_seconds")
    >>> window = Window(latency, seconds=60.0, clock=clock)
    >>> latency.observe(9.0)
    >>> clock.advance(60)
    >>> window.read().p50
    9.0
    >>> latency.observe(0.5)
    >>> clock.advance(60)
    >>> reading = window.read()
    >>> reading.count, round(reading.p50, 2), reading.covered_s
    (1, 0.5, 60.0)
    """

    def __init__(self, histogram: Histogram, *, seconds: float = 60.0, clock: Clock = SYSTEM_CLOCK) -> None:
        """Begin now. ``seconds`` is how far to look back; :class:`~sonde.errors.ConfigError` unless above 0."""
        if not 0 < seconds < math.inf:
            raise ConfigError(f"cannot look back {seconds!r} seconds: a finite number above 0 is expected")
        self.histogram = histogram
        self.seconds = float(seconds)
        self._clock = clock
        # Replaced and never changed, so that readers need no lock. Of two at a time one loses its slice, which costs
        # nothing but a little precision.
        self._slices: tuple[_Slice, ...] = (_Slice(clock.monotonic_s(), histogram.snapshot()),)

    def read(self) -> WindowReading:
        """What was observed lately, all figures of one moment."""
        slices = self._slices
        now_s, now = self._clock.monotonic_s(), self.histogram.snapshot()
        if now.count == slices[-1].before.count:
            now = slices[-1].before  # one snapshot in memory for as long as nothing is observed
        # The first one that is kept is the latest of those that are old enough.
        old = [place for place, slice_ in enumerate(slices) if now_s - slice_.at_s >= self.seconds]
        slices = slices[old[-1] :] if old else slices
        if now_s - slices[-1].at_s >= self.seconds / SLICES:
            self._slices = (*slices, _Slice(now_s, now))
        else:
            self._slices = slices
        first = slices[0]
        return WindowReading(now_s - first.at_s, now.since(first.before))
