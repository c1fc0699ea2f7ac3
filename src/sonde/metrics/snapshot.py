"""RegistrySnapshot: all metrics of a registry at one moment, to be subtracted, added up, stored and shown again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sonde.errors import MetricTypeError
from sonde.metrics.codec import SeriesKey, decode_series, encode_series
from sonde.metrics.description import Description
from sonde.metrics.metric import MetricType
from sonde.metrics.reading import CounterReading, GaugeReading, Reading

_TYPES = {CounterReading: MetricType.COUNTER, GaugeReading: MetricType.GAUGE}


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """What the series of a registry had; nobody changes it: all operations give a new one. Any thread may read it.

    Each series is of one moment, and the series were read one after the other.

    >>> from sonde.metrics import Registry
    >>> registry = Registry()
    >>> registry.counter("calls_total").inc(2)
    >>> before = registry.snapshot()
    >>> registry.counter("calls_total").inc(5)
    >>> registry.snapshot().since(before).get("calls_total")
    CounterReading(total=5)
    >>> before.merged(registry.snapshot().since(before)).get("calls_total")
    CounterReading(total=7)

    Attributes:
        time_ns: when it was taken (Unix time); of merged ones, when the latest was.
        series: the reading of each series.
        descriptions: what the registry was told about names; those that every registry knows are not repeated.
    """

    time_ns: int = 0
    series: Mapping[SeriesKey, Reading] = field(default_factory=dict)
    descriptions: Mapping[str, Description] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "series", MappingProxyType(dict(self.series)))
        object.__setattr__(self, "descriptions", MappingProxyType(dict(self.descriptions)))

    def get(self, name: str, labels: Mapping[str, str] | None = None) -> Reading | None:
        """The reading of one series, if it is there."""
        return self.series.get(SeriesKey(name, tuple(sorted((labels or {}).items()))))

    def types(self) -> dict[str, MetricType]:
        """The kind of each name."""
        return {key.name: _TYPES.get(type(reading), MetricType.HISTOGRAM) for key, reading in self.series.items()}

    def only(self, keys: Iterable[SeriesKey]) -> RegistrySnapshot:
        """The same with these series alone; keys that it does not have are left out."""
        series = {key: self.series[key] for key in keys if key in self.series}
        names = {key.name for key in series}
        return RegistrySnapshot(
            self.time_ns, series, {name: text for name, text in self.descriptions.items() if name in names}
        )

    def since(self, earlier: RegistrySnapshot) -> RegistrySnapshot:
        """What happened after ``earlier``: counters and histograms without what they had then, gauges as they are.

        Series that are as they were then are left out; new ones are there, even with 0. A counter or histogram that is
        below what it was began anew in between, and stays as it is. Of histograms, see :meth:`Sketch.since`.
        """
        series: dict[SeriesKey, Reading] = {}
        for key, reading in self.series.items():
            before = earlier.series.get(key)
            if before is None or type(before) is not type(reading):
                series[key] = reading
            elif _level(before) != _level(reading):
                series[key] = reading.since(before)  # type: ignore[arg-type]  # of the same type
        return RegistrySnapshot(self.time_ns, series, self.descriptions).only(series)

    def merged(self, other: RegistrySnapshot) -> RegistrySnapshot:
        """Both together, of two processes or two spans of time: sums; of a gauge, the later one.

        What a gauge measures nobody knows here: the temperatures of two processes have no sum, ``active_sessions`` and
        ``model_unknown_cost_calls`` have one. :func:`~sonde.query.derive_metrics` counts these two over all processes.

        Raises:
            MetricTypeError: a name has another type in the other one.
        """
        mine = self.types()
        for name, theirs in other.types().items():
            if mine.get(name, theirs) is not theirs:
                raise MetricTypeError(
                    f"cannot merge metrics {name!r}: it is a {mine[name]} in one snapshot and a {theirs} in the other; "
                    "leave one of them out"
                )
        series = dict(self.series)
        for key, reading in other.series.items():
            known = series.get(key)
            series[key] = reading if known is None else known.merged(reading)  # type: ignore[arg-type]  # of the same type
        return RegistrySnapshot(max(self.time_ns, other.time_ns), series, {**self.descriptions, **other.descriptions})

    def to_data(self) -> dict[str, Any]:
        """Plain values that JSON carries: the ``data`` of a ``sonde.metrics`` event.

        >>> from sonde.metrics import Registry
        >>> registry = Registry()
        >>> registry.counter("calls_total", {"tool": "a"}).inc()
        >>> registry.snapshot().to_data()["families"]
        [{'name': 'calls_total', 'type': 'counter', 'series': [{'value': 1, 'labels': {'tool': 'a'}}]}]
        """
        (data,) = encode_series(self.series, self.descriptions, time_ns=self.time_ns)
        return data

    def to_parts(self, *, max_bytes: int) -> list[dict[str, Any]]:
        """:meth:`to_data` in parts of at most ``max_bytes`` of JSON, or one series, if that is larger by itself."""
        return list(encode_series(self.series, self.descriptions, time_ns=self.time_ns, max_bytes=max_bytes))

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> RegistrySnapshot:
        """What :meth:`to_data` has written.

        Raises:
            EventDecodeError: something else, or the data of a newer release.
        """
        return cls(*decode_series(data))


def _level(reading: Reading) -> float:
    """What tells whether a series has changed."""
    if isinstance(reading, CounterReading):
        return reading.total
    return reading.value if isinstance(reading, GaugeReading) else reading.count
