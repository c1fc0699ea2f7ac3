"""Histogram: how values are distributed, in explicit buckets and as percentiles."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add, sub
from typing import Any

import msgspec

from sonde.errors import ConfigError
from sonde.metrics.journal import CHUNK, Journal
from sonde.metrics.labels import Labels, series_key, valid_labels, valid_name
from sonde.metrics.metric import MetricType, Rejections, plain_number
from sonde.metrics.sketch import Sketch

DEFAULT_HISTOGRAM_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds, each included in its bucket."""

LE = frozenset({"le"})
"""The label that a histogram's buckets carry in Prometheus' formats."""

_INFINITY = math.inf
_FLOAT = {float}


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A histogram at one moment: all figures are of the same values.

    Attributes:
        bounds: the buckets' upper bounds, without the last one, which is infinite.
        cumulative: how many values are at or below each bound.
        count: how many values there are.
        sum: their sum.
        sketch: their distribution.
    """

    bounds: tuple[float, ...]
    cumulative: tuple[int, ...]
    count: int
    sum: float
    sketch: Sketch

    def buckets(self) -> dict[float, int]:
        """How many values are at or below each bound; the last bound is infinite, and has ``count``."""
        return dict(zip((*self.bounds, _INFINITY), (*self.cumulative, self.count), strict=True))

    def percentile(self, p: float) -> float:
        """See :meth:`Histogram.percentile`."""
        return self.sketch.percentile(p)

    def since(self, earlier: HistogramSnapshot) -> HistogramSnapshot:
        """What was observed after ``earlier``; this one if that is no earlier state of it. See :meth:`Sketch.since`."""
        sketch = self.sketch.since(earlier.sketch)
        bounds, mine, others = _shared(self, earlier)
        cumulative = tuple(map(sub, mine, others))
        count = self.count - earlier.count
        if sketch.count != count or not all(0 <= number <= count for number in cumulative):
            return self
        return HistogramSnapshot(bounds, cumulative, count, max(0.0, self.sum - earlier.sum), sketch)

    def merged(self, other: HistogramSnapshot) -> HistogramSnapshot:
        """Both together, the same as if one had observed the values of both; of the buckets, those that both have."""
        bounds, mine, others = _shared(self, other)
        return HistogramSnapshot(
            bounds,
            tuple(map(add, mine, others)),
            self.count + other.count,
            min(self.sum + other.sum, sys.float_info.max),
            self.sketch.merged(other.sketch),
        )


def _shared(one: HistogramSnapshot, other: HistogramSnapshot) -> tuple[tuple[float, ...], Sequence[int], Sequence[int]]:
    """The bounds that both have, and what each has at or below them, which is as exact as before."""
    if one.bounds == other.bounds:
        return one.bounds, one.cumulative, other.cumulative
    mine, others = (
        dict(zip(one.bounds, one.cumulative, strict=True)),
        dict(zip(other.bounds, other.cumulative, strict=True)),
    )
    bounds = tuple(bound for bound in one.bounds if bound in others)
    return bounds, [mine[bound] for bound in bounds], [others[bound] for bound in bounds]


def valid_buckets(buckets: Iterable[float] | None) -> tuple[float, ...]:
    """Upper bounds without the infinite one; :class:`~sonde.errors.ConfigError` unless they are finite and ascend."""
    if buckets is None:
        return DEFAULT_HISTOGRAM_BUCKETS
    try:
        bounds = tuple(map(float, buckets))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"cannot use buckets {buckets!r}: {error}; finite upper bounds are expected, as in [0.1, 1, 10]"
        ) from error
    if bounds and bounds[-1] == _INFINITY:
        bounds = bounds[:-1]
    if not all(map(math.isfinite, bounds)) or any(a >= b for a, b in pairwise(bounds)):
        raise ConfigError(f"cannot use buckets {bounds!r}: finite upper bounds are expected, each above the one before")
    return bounds


def _fold(state: HistogramSnapshot, values: list[Any]) -> HistogramSnapshot:
    values.sort()  # then each bucket costs one search, and the extremes are at the ends
    try:
        total = math.fsum((state.sum, *values))
    except OverflowError:
        total = sys.float_info.max
    positions = (bisect_right(values, bound) for bound in state.bounds)
    return HistogramSnapshot(
        state.bounds,
        tuple(map(add, state.cumulative, positions)),
        state.count + len(values),
        total,
        state.sketch.with_values(values),
    )


class Histogram:
    """Counts values in buckets, and knows their percentiles within 1 %.

    Any thread and any signal handler may update and read it; nothing blocks, nothing raises. Observing appends; one in
    512 observations folds, which takes some 100 µs, and so does reading. Memory: up to 16 kB waiting, and some 100
    bytes for each of at most 4,096 bins, of which durations between 1 ms and 1 s take 640.

    A negative value counts as 0. NaN and infinite values, or what is no number, change nothing, are counted in
    ``rejected`` and logged once. A sum past the largest float stays there.

    >>> latency = Histogram("model_latency_seconds", buckets=[0.1, 1])
    >>> for value in (0.05, 0.5, 0.7, 3):
    ...     latency.observe(value)
    >>> latency.buckets()
    {0.1: 1, 1.0: 3, inf: 4}
    >>> latency.count, round(latency.sum, 2), round(latency.p50, 2)
    (4, 4.25, 0.5)
    """

    __slots__ = ("_entries", "_journal", "_rejections", "bounds", "labels", "name")

    type = MetricType.HISTOGRAM

    def __init__(
        self, name: str, labels: Mapping[str, str] | None = None, buckets: Iterable[float] | None = None
    ) -> None:
        """``buckets`` are ascending upper bounds, by default for seconds; :class:`~sonde.errors.ConfigError` if not."""
        self.name: str = valid_name(name)
        self.labels: Labels = valid_labels(labels, reserved=LE)
        self.bounds = valid_buckets(buckets)
        self._begin(HistogramSnapshot(self.bounds, (0,) * len(self.bounds), 0, 0.0, Sketch()))
        self._rejections = Rejections(series_key(self.name, self.labels))

    @classmethod
    def from_snapshot(cls, name: str, labels: Mapping[str, str] | None, snapshot: HistogramSnapshot) -> Histogram:
        """A histogram that has observed what ``snapshot`` has, and goes on from there."""
        made = cls(name, labels, snapshot.bounds)
        made._begin(snapshot)
        return made

    def _begin(self, state: HistogramSnapshot) -> None:
        self._journal: Journal[HistogramSnapshot] = Journal(state, _fold)
        self._entries = self._journal.entries  # each look-up counts in observe

    def observe(self, v: float) -> None:
        """Count the value ``v``."""
        entries = self._entries
        if v.__class__ is float and 0.0 <= v < _INFINITY:
            entries.append(v)
        else:
            self._append_odd(v)
        if len(entries) > CHUNK:
            self._journal.shorten()

    def observe_all(self, values: Sequence[float]) -> None:
        """Count many values: what :meth:`observe` of each does, without a call for each.

        >>> sizes = Histogram("sizes", buckets=[10])
        >>> sizes.observe_all([1.0, 2.0, 30.0])
        >>> sizes.buckets()
        {10.0: 2, inf: 3}
        """
        # A sum is finite only if no value is infinite or NaN; one that overflows takes the slow way for nothing.
        if set(map(type, values)) <= _FLOAT and math.isfinite(sum(values)) and min(values, default=0.0) >= 0.0:
            entries = self._entries
            for start in range(0, len(values), CHUNK):
                entries.extend(values[start : start + CHUNK])
                if len(entries) > CHUNK:
                    self._journal.shorten()
        else:
            for value in values:
                self.observe(value)

    def snapshot(self) -> HistogramSnapshot:
        """All figures of one moment. Several of them cost one fold this way."""
        return self._journal.read()

    @property
    def count(self) -> int:
        """How many values were observed."""
        return self.snapshot().count

    @property
    def sum(self) -> float:
        """The sum of the values."""
        return self.snapshot().sum

    def buckets(self) -> dict[float, int]:
        """How many values are at or below each bound; the last bound is infinite, and has the count."""
        return self.snapshot().buckets()

    def percentile(self, p: float) -> float:
        """The value of rank ``ceil(p * count)``, within ``relative_error``; 0.0 if there is none."""
        return self.snapshot().percentile(p)

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

    @property
    def relative_error(self) -> float:
        """By how much a percentile may be wrong, as a ratio: 0.0054 while the values span less than 64 doublings."""
        return self.snapshot().sketch.relative_error

    @property
    def rejected(self) -> int:
        """Values that changed nothing, since they were not allowed."""
        return self._rejections.count

    def to_dict(self) -> dict[str, object]:
        """What ``to_json`` writes, as plain values."""
        now = self.snapshot()
        return {
            "buckets": [*now.cumulative, now.count],
            "count": now.count,
            "labels": dict(self.labels),
            "name": self.name,
            "p50": now.percentile(0.5),
            "p90": now.percentile(0.9),
            "p99": now.percentile(0.99),
            "sum": now.sum,
            "type": str(self.type),
        }

    def to_json(self) -> bytes:
        """The original's JSON: buckets, count, labels, name, p50, p90, p99, sum, type."""
        return msgspec.json.encode(self.to_dict())

    def _append_odd(self, value: Any) -> None:
        """Take what is no float between 0 and infinity, as far as it goes."""
        try:
            number = float(plain_number(value))
        except OverflowError:  # an integer past all floats
            number = math.nan
        if math.isfinite(number):
            self._entries.append(number if number > 0 else 0.0)
        else:
            self._rejections.add(value, "a finite number")

    def __str__(self) -> str:
        now = self.snapshot()
        figures = " ".join(f"p{p}={now.percentile(p / 100):.6g}" for p in (50, 90, 99))
        return f"{series_key(self.name, self.labels)} count={now.count} sum={now.sum:.6g} {figures}"

    def __repr__(self) -> str:
        return f"<Histogram {self}>"
