"""Registry: the metrics of a program, by name and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import ConfigError, MetricTypeError
from sonde.metrics.codec import SeriesKey
from sonde.metrics.counter import Counter
from sonde.metrics.description import PREDEFINED, Description, valid_description
from sonde.metrics.family import Family
from sonde.metrics.gauge import Gauge
from sonde.metrics.histogram import LE, Histogram, valid_buckets
from sonde.metrics.labels import NO_LABELS, OVERFLOW_LABELS, Labels, series_key, valid_labels, valid_name
from sonde.metrics.metric import FAILURES, MetricType
from sonde.metrics.reading import Reading, metric_of, reading_of
from sonde.metrics.snapshot import RegistrySnapshot
from sonde.tally import Tally

DEFAULT_MAX_SERIES = 2_000
"""Label sets that a name may have."""

_M = TypeVar("_M", bound=Counter | Gauge | Histogram)
_Key = tuple[tuple[str, str], ...]


class _Series(Generic[_M]):
    """The series of one name."""

    def __init__(self, kind: type[_M], make: Callable[[Labels], _M]) -> None:
        self.kind = kind
        self.make = make
        self.series: dict[_Key, _M] = {}
        self.overflows = Tally()


class Registry:
    """Makes and keeps metrics: the same name and labels always give the same one.

    Any thread may use it, a signal handler too; nothing blocks. A name has one type. Once a name has ``max_series``
    label sets, every further one gives the series ``overflow="true"``, is counted in ``overflowed``, and the first is
    logged; threads that make new ones at that very moment may pass the limit by one each.

    >>> registry = Registry()
    >>> registry.counter("calls_total", {"tool": "read_file"}).inc()
    >>> registry.counter("calls_total", {"tool": "read_file"}).get()
    1
    >>> registry.gauge("calls_total")
    Traceback (most recent call last):
    sonde.errors.MetricTypeError: cannot make gauge 'calls_total': it is a counter already; use another name
    """

    def __init__(self, *, max_series: int = DEFAULT_MAX_SERIES) -> None:
        """At most ``max_series`` label sets for each name."""
        if max_series < 1:
            raise ConfigError(f"cannot make a registry with max_series={max_series!r}: at least 1 is expected")
        self._max_series = max_series
        self._families: dict[str, _Series[Any]] = {}
        self._descriptions: dict[str, Description] = {}

    def counter(self, name: str, labels: Mapping[str, str] | None = None) -> Counter:
        """The counter of that name and labels, made if there is none.

        Raises:
            ConfigError: a name or a label that is not allowed.
            MetricTypeError: the name belongs to another type.
        """
        return self._series(Counter, name, labels, lambda labels: Counter(name, labels))

    def gauge(self, name: str, labels: Mapping[str, str] | None = None) -> Gauge:
        """The gauge of that name and labels, made if there is none; errors as of :meth:`counter`."""
        return self._series(Gauge, name, labels, lambda labels: Gauge(name, labels))

    def histogram(
        self, name: str, labels: Mapping[str, str] | None = None, buckets: Iterable[float] | None = None
    ) -> Histogram:
        """The histogram of that name and labels, made if there is none; errors as of :meth:`counter`.

        All series of a name have the buckets of the first; other ones are a :class:`~sonde.errors.ConfigError`.
        """
        bounds = valid_buckets(buckets)
        found = self._series(Histogram, name, labels, lambda labels: Histogram(name, labels, bounds))
        if buckets is not None and found.bounds != bounds:
            raise ConfigError(
                f"cannot give histogram {name!r} buckets {bounds!r}: it has {found.bounds!r}; "
                "leave them out or use another name"
            )
        return found

    def get_counter(self, name: str, labels: Mapping[str, str] | None = None) -> Counter | None:
        """The counter of that name and labels, if there is one."""
        return self._find(Counter, name, labels)

    def get_gauge(self, name: str, labels: Mapping[str, str] | None = None) -> Gauge | None:
        """The gauge of that name and labels, if there is one."""
        return self._find(Gauge, name, labels)

    def get_histogram(self, name: str, labels: Mapping[str, str] | None = None) -> Histogram | None:
        """The histogram of that name and labels, if there is one."""
        return self._find(Histogram, name, labels)

    def counters(self) -> list[Counter]:
        """All counters, sorted by name and labels."""
        return self._all(Counter)

    def gauges(self) -> list[Gauge]:
        """All gauges, sorted by name and labels."""
        return self._all(Gauge)

    def histograms(self) -> list[Histogram]:
        """All histograms, sorted by name and labels."""
        return self._all(Histogram)

    def families(self) -> list[Family]:
        """All metrics by name: the families sorted by name, the series of each by labels. See :class:`Family`."""
        return [
            Family(name, MetricType(family.kind.type), self.description(name), series)
            for name, family in sorted(self._families.copy().items())
            if (series := _sorted(family.series))
        ]

    def describe(self, name: str, help: str, unit: str = "") -> None:
        """Say what a name stands for; it need not have a metric yet.

        The last word holds, over the predefined one, too: two libraries that put it differently are no reason to fail.

        Args:
            name: as of the metric.
            help: a sentence for people; any text.
            unit: as OpenMetrics has it, ``seconds`` or ``bytes``; the name ends in it, ``_total`` aside.

        Raises:
            ConfigError: a name or a unit that is not allowed.

        >>> registry = Registry()
        >>> registry.describe("upload_size_bytes", "How large uploads were.", "bytes")
        >>> registry.description("upload_size_bytes")
        Description(help='How large uploads were.', unit='bytes')
        >>> registry.description("tool_calls_total").help
        'Calls of tools.'
        """
        self._descriptions[name] = valid_description(name, help, unit)

    def description(self, name: str) -> Description | None:
        """What was said about a name; the predefined metrics are described from the start."""
        return self._descriptions.get(name) or PREDEFINED.get(name)

    def snapshot(self, *, clock: Clock = SYSTEM_CLOCK) -> RegistrySnapshot:
        """All series as they are now. Each is of one moment; the next one is read some microseconds later."""
        time_ns = clock.time_ns()
        series: dict[SeriesKey, Reading] = {}
        for name, family in self._families.copy().items():
            for key, metric in family.series.copy().items():
                series[SeriesKey(name, key)] = reading_of(metric, time_ns=time_ns)
        return RegistrySnapshot(time_ns, series, self._descriptions.copy()).only(series)

    @classmethod
    def from_snapshot(cls, snapshot: RegistrySnapshot) -> Registry:
        """A registry with the metrics of a snapshot: what shows live metrics shows stored ones, too.

        All series are made, however many; new ones find the limit of :class:`Registry`.

        Raises:
            MetricTypeError: a name has two types, which no snapshot of one registry has.

        >>> registry = Registry()
        >>> registry.histogram("x_seconds").observe(0.25)
        >>> stored = registry.snapshot().to_data()
        >>> again = Registry.from_snapshot(RegistrySnapshot.from_data(stored))
        >>> again.export() == registry.export()
        True
        """
        registry = cls()
        registry._descriptions.update(snapshot.descriptions)
        for (name, labels), reading in snapshot.series.items():
            metric = metric_of(name, dict(labels), reading)
            family = registry._families.setdefault(name, _Series(type(metric), _maker(metric)))
            if family.kind is not type(metric):
                raise _two_types(name, wanted=type(metric), present=family.kind)
            family.series[labels] = metric
        return registry

    @property
    def overflowed(self) -> dict[str, int]:
        """How often each name gave its overflow series, for lack of room; names that never did are left out."""
        counts = {name: family.overflows.value for name, family in self._families.copy().items()}
        return {name: count for name, count in counts.items() if count}

    def export(self) -> dict[str, dict[str, dict[str, object]]]:
        """All metrics as plain values: ``{"counters": {"name{k=v}": {...}}, "gauges": ..., "histograms": ...}``."""
        groups: dict[str, Iterable[Counter | Gauge | Histogram]] = {
            "counters": self.counters(),
            "gauges": self.gauges(),
            "histograms": self.histograms(),
        }
        return {
            group: {series_key(metric.name, metric.labels): metric.to_dict() for metric in metrics}
            for group, metrics in groups.items()
        }

    def export_json(self) -> bytes:
        """``export()`` as JSON, indented by two as the original's."""
        return msgspec.json.format(msgspec.json.encode(self.export()), indent=2)

    def write_to(self, file: BinaryIO) -> int:
        """Write ``export_json()`` to a binary file; gives the number of bytes. Blocks as the file does."""
        content = self.export_json()
        file.write(content)
        return len(content)

    def _series(self, kind: type[_M], name: str, labels: Mapping[str, str] | None, make: Callable[[Labels], _M]) -> _M:
        try:
            family: _Series[Any] | None = self._families.get(name)
        except TypeError:  # no text; valid_name() says so
            family = None
        if family is None:
            # Labels are checked first, so that a refused series leaves no name behind.
            valid_labels(labels, reserved=LE if kind is Histogram else frozenset())
            family = self._families.setdefault(valid_name(name), _Series(kind, make))
        if family.kind is not kind:
            raise _two_types(name, wanted=kind, present=family.kind)
        typed: _Series[_M] = family
        try:
            found = typed.series.get(_key(labels))
        except (AttributeError, TypeError):  # no mapping of text; the making below says what is wrong with it
            found = None
        if found is not None:
            return found
        series = typed.make(labels or NO_LABELS)
        key = _key(series.labels)
        if key not in typed.series and len(typed.series) >= self._max_series:
            return self._overflow(typed)
        # A dictionary's setdefault is one step: of several threads, all get the series of the first.
        return typed.series.setdefault(key, series)

    def _overflow(self, family: _Series[_M]) -> _M:
        series: _M = family.series.setdefault(_key(OVERFLOW_LABELS), family.make(OVERFLOW_LABELS))
        if family.overflows.increment() == 0:
            FAILURES.add(
                f"overflow {series.name}",
                f"metric {series.name} has {self._max_series} label sets, the most it may have: further ones are "
                'counted together as overflow="true"; drop the label that varies most',
            )
        return series

    def _find(self, kind: type[_M], name: str, labels: Mapping[str, str] | None) -> _M | None:
        try:
            family = self._families.get(name)
            if family is None or family.kind is not kind:
                return None
            # As they are kept: lone surrogates are written out there.
            found: _M | None = family.series.get(_key(valid_labels(labels)))
            return found
        except (ConfigError, TypeError):  # such labels, or such a name, nothing has
            return None

    def _all(self, kind: type[_M]) -> list[_M]:
        families = [family for family in list(self._families.values()) if family.kind is kind]
        series = [metric for family in families for metric in list(family.series.values())]
        return sorted(series, key=lambda metric: (metric.name, _key(metric.labels)))


def _two_types(name: str, *, wanted: type[Any], present: type[Any]) -> MetricTypeError:
    return MetricTypeError(
        f"cannot make {MetricType(wanted.type)} {name!r}: it is a {MetricType(present.type)} already; use another name"
    )


def _maker(metric: Counter | Gauge | Histogram) -> Callable[[Labels], Counter | Gauge | Histogram]:
    """Makes other series of the metric's name."""
    if isinstance(metric, Histogram):
        return lambda labels: Histogram(metric.name, labels, metric.bounds)
    return lambda labels: type(metric)(metric.name, labels)


def _sorted(series: dict[_Key, Any]) -> list[Any]:
    # A copy is one step. Going through items() is not: each makes a tuple, and a collection that this sets off runs
    # finalisers, which may make series, and lets other threads in.
    return [metric for _, metric in sorted(series.copy().items())]


def _key(labels: Mapping[str, str] | None) -> _Key:
    if not labels:
        return ()
    return tuple(sorted(labels.items())) if len(labels) > 1 else tuple(labels.items())


DEFAULT_REGISTRY = Registry()
"""Where :func:`counter`, :func:`gauge`, :func:`histogram` and the predefined recorders keep their metrics."""


def counter(name: str, labels: Mapping[str, str] | None = None) -> Counter:
    """:meth:`Registry.counter` of the default registry."""
    return DEFAULT_REGISTRY.counter(name, labels)


def gauge(name: str, labels: Mapping[str, str] | None = None) -> Gauge:
    """:meth:`Registry.gauge` of the default registry."""
    return DEFAULT_REGISTRY.gauge(name, labels)


def histogram(name: str, labels: Mapping[str, str] | None = None, buckets: Iterable[float] | None = None) -> Histogram:
    """:meth:`Registry.histogram` of the default registry."""
    return DEFAULT_REGISTRY.histogram(name, labels, buckets)
