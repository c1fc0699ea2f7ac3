"""Readings: what a series had at one moment, with the two operations that make them an algebra: since and merged."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from sonde.metrics.counter import Counter
from sonde.metrics.gauge import Gauge
from sonde.metrics.histogram import Histogram, HistogramSnapshot


class CounterReading(NamedTuple):
    """What a counter had counted: an ``int`` as long as only integers were added."""

    total: int | float

    def since(self, earlier: CounterReading) -> CounterReading:
        """What was added after ``earlier``. A total below that one's began anew since, and is all there is to say."""
        return CounterReading(self.total - earlier.total) if self.total >= earlier.total else self

    def merged(self, other: CounterReading) -> CounterReading:
        """The sum; past the largest float it stays there."""
        try:
            total = self.total + other.total
        except OverflowError:  # a float and an integer past all floats
            return CounterReading(sys.float_info.max)
        return CounterReading(min(total, sys.float_info.max) if isinstance(total, float) else total)


class GaugeReading(NamedTuple):
    """What a gauge held, and at which moment (Unix time, ns)."""

    value: float
    time_ns: int

    def since(self, _: GaugeReading) -> GaugeReading:
        """Itself: a level is no sum of what happened."""
        return self

    def merged(self, other: GaugeReading) -> GaugeReading:
        """The later one; of the same moment, the larger."""
        return max(self, other, key=lambda reading: (reading.time_ns, reading.value))


Reading: TypeAlias = CounterReading | GaugeReading | HistogramSnapshot


def reading_of(metric: Counter | Gauge | Histogram, *, time_ns: int) -> Reading:
    """What a metric has now, which is ``time_ns``."""
    if isinstance(metric, Counter):
        return CounterReading(metric.get())
    return GaugeReading(metric.get(), time_ns) if isinstance(metric, Gauge) else metric.snapshot()


def metric_of(name: str, labels: Mapping[str, str], reading: Reading) -> Counter | Gauge | Histogram:
    """A new metric that has what was read, and goes on from there."""
    if isinstance(reading, CounterReading):
        return Counter.from_total(name, labels, reading.total)
    if isinstance(reading, GaugeReading):
        gauge = Gauge(name, labels)
        gauge.set(reading.value)
        return gauge
    return Histogram.from_snapshot(name, labels, reading)
