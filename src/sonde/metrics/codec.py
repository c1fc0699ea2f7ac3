"""Codec: readings as plain data that JSON carries, and back; what a ``sonde.metrics`` event has.

::

    {"version": 1, "time_ns": 1795357700000000000, "families": [
      {"name": "tool_calls_total", "type": "counter", "help": "...", "unit": "...",
       "series": [{"labels": {"tool_name": "read_file"}, "value": 3}]},
      {"name": "load", "type": "gauge", "series": [{"value": 0.5}]},
      {"name": "x_seconds", "type": "histogram", "bounds": [0.1, 1.0], "series": [
        {"count": 3, "sum": 1.5, "buckets": [1, 2, 3], "smallest": 0.05, "largest": 1.1, "bins": [-276, 1, ...]}]}]}

What is empty is left out. ``buckets`` is cumulative and ends in the count, as in the original's JSON. ``bins`` are
those of the sketch in pairs: how far the bin's index is from the one before (the first: from 0), and how many values it
has; ``scale`` is 6 where it is missing. An integer past 64 bits is written as text, a gauge's own ``time_ns`` where it
is not the snapshot's. A recorder puts ``process`` beside them, and what was counted before it began, in an event whose
``families`` are empty, as families under ``before``; neither is read here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, TypeAlias

import msgspec

from sonde.errors import ConfigError, EventDecodeError
from sonde.metrics.description import Description
from sonde.metrics.histogram import LE, HistogramSnapshot, valid_buckets
from sonde.metrics.labels import valid_labels, valid_name
from sonde.metrics.reading import CounterReading, GaugeReading, Reading
from sonde.metrics.sketch import MAX_SCALE, Sketch

VERSION = 1
_INT_MAX = 2**63 - 1
_DIGITS_MAX = 1_000


class SeriesKey(NamedTuple):
    """What tells a series from all others: its name, and its labels as pairs, sorted."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()


Series: TypeAlias = Mapping[SeriesKey, Reading]


class _CounterRow(msgspec.Struct, omit_defaults=True):
    value: int | float | str
    labels: dict[str, str] = {}


class _GaugeRow(msgspec.Struct, omit_defaults=True):
    value: float
    labels: dict[str, str] = {}
    time_ns: int | None = None


class _HistogramRow(msgspec.Struct, omit_defaults=True):
    count: int
    sum: float
    buckets: list[int]
    labels: dict[str, str] = {}
    zeros: int = 0
    scale: int = MAX_SCALE
    smallest: float = 0.0
    largest: float = 0.0
    bins: list[int] = []


class _Family(msgspec.Struct, omit_defaults=True, tag_field="type"):
    name: str
    help: str = ""
    unit: str = ""


class _Counters(_Family, tag="counter"):
    series: list[_CounterRow] = []


class _Gauges(_Family, tag="gauge"):
    series: list[_GaugeRow] = []


class _Histograms(_Family, tag="histogram"):
    bounds: list[float] = []
    series: list[_HistogramRow] = []


class _Snapshot(msgspec.Struct):
    version: int
    time_ns: int
    families: list[_Counters | _Gauges | _Histograms]


class Decoded(NamedTuple):
    """What the data of one event says."""

    time_ns: int
    series: dict[SeriesKey, Reading]
    descriptions: dict[str, Description]


def encode_series(
    series: Series, descriptions: Mapping[str, Description], *, time_ns: int, max_bytes: float = math.inf
) -> Iterator[dict[str, Any]]:
    """The series, sorted, as data of one event, or of as many as it takes for none to pass ``max_bytes`` of JSON.

    A single series that is larger has one of its own. Without series there is one, which says so.
    """
    families: list[dict[str, Any]] = []
    size_bytes = 0
    last: object = None
    for key, reading in sorted(series.items(), key=lambda item: item[0]):
        head, row = _encoded(key, reading, time_ns)
        description = descriptions.get(key.name)
        if description is not None:
            head |= {name: text for name, text in description._asdict().items() if text}
        row_bytes = len(msgspec.json.encode(row)) + 1
        if head != last or size_bytes + row_bytes > max_bytes:
            head_bytes = len(msgspec.json.encode(head)) + len(',"series":[],')
            if families and size_bytes + head_bytes + row_bytes > max_bytes:
                yield {"version": VERSION, "time_ns": time_ns, "families": families}
                families, size_bytes = [], 0
            families.append({**head, "series": []})
            size_bytes += head_bytes
            last = head
        families[-1]["series"].append(row)
        size_bytes += row_bytes
    if families or not series:
        yield {"version": VERSION, "time_ns": time_ns, "families": families}


def decode_series(data: Mapping[str, Any]) -> Decoded:
    """What :func:`encode_series` has written. A series that is there twice counts as both together.

    Raises:
        EventDecodeError: something else, or the data of a newer release.
    """
    version = data.get("version")
    if version != VERSION:
        raise EventDecodeError(
            f"cannot read metrics of version {str(version)[:40]!r}: this release reads {VERSION}; upgrade sonde"
        )
    series: dict[SeriesKey, Reading] = {}
    descriptions: dict[str, Description] = {}
    types: dict[str, type[object]] = {}
    try:
        snapshot = msgspec.convert(data, _Snapshot)
        for family in snapshot.families:
            if family.help or family.unit:
                descriptions[family.name] = Description(family.help, family.unit)
            _expect(types.setdefault(family.name, type(family)) is type(family), family.name, "one type")
            for key, reading in _decoded(family, snapshot.time_ns):
                known = series.get(key)
                series[key] = reading if known is None else known.merged(reading)  # type: ignore[arg-type]  # the same type
    except (msgspec.ValidationError, ConfigError) as error:
        raise EventDecodeError(
            f"cannot read metrics: {error}; expected the data of a sonde.metrics event, unchanged"
        ) from error
    return Decoded(snapshot.time_ns, series, descriptions)


def _encoded(key: SeriesKey, reading: Reading, time_ns: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What all series of the family share, and the row of this one."""
    row: msgspec.Struct
    labels = dict(key.labels)
    if isinstance(reading, CounterReading):
        total = reading.total
        row = _CounterRow(str(total) if isinstance(total, int) and total > _INT_MAX else total, labels)
        return {"name": key.name, "type": "counter"}, msgspec.to_builtins(row)
    if isinstance(reading, GaugeReading):
        row = _GaugeRow(reading.value, labels, None if reading.time_ns == time_ns else reading.time_ns)
        return {"name": key.name, "type": "gauge"}, msgspec.to_builtins(row)
    sketch = reading.sketch
    bins: list[int] = []
    previous = 0
    for index, number in sorted(sketch.bins.items()):
        bins += (index - previous, number)
        previous = index
    row = _HistogramRow(
        reading.count,
        reading.sum,
        [*reading.cumulative, reading.count],
        labels,
        sketch.zeros,
        sketch.scale,
        sketch.smallest if bins else 0.0,
        sketch.largest,
        bins,
    )
    return {"name": key.name, "type": "histogram", "bounds": list(reading.bounds)}, msgspec.to_builtins(row)


def _decoded(family: _Counters | _Gauges | _Histograms, time_ns: int) -> Iterator[tuple[SeriesKey, Reading]]:
    name = valid_name(family.name)
    if isinstance(family, _Counters):
        for counter in family.series:
            yield _key(name, counter.labels), CounterReading(_total(name, counter.value))
    elif isinstance(family, _Gauges):
        for gauge in family.series:
            _expect(math.isfinite(gauge.value), name, "finite values")
            at_ns = time_ns if gauge.time_ns is None else gauge.time_ns
            yield _key(name, gauge.labels), GaugeReading(gauge.value, at_ns)
    else:
        bounds = valid_buckets(family.bounds)
        for row in family.series:
            yield _key(name, row.labels, reserved=LE), _histogram(name, bounds, row)


def _key(name: str, labels: Mapping[str, str], *, reserved: frozenset[str] = frozenset()) -> SeriesKey:
    return SeriesKey(name, tuple(valid_labels(labels, reserved=reserved).items()))


def _expect(condition: object, name: str, expected: str) -> None:
    if not condition:
        raise ConfigError(f"metric {name!r} does not have {expected}")


def _total(name: str, value: float | str) -> int | float:
    if isinstance(value, str):
        _expect(value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX, name, "a total in digits")
        return int(value)
    _expect(value >= 0 and math.isfinite(value), name, "a finite total, 0 or more")
    return value


def _histogram(name: str, bounds: tuple[float, ...], row: _HistogramRow) -> HistogramSnapshot:
    _expect(
        len(row.buckets) == len(bounds) + 1
        and row.buckets[-1] == row.count
        and all(a <= b for a, b in pairwise([0, *row.buckets])),
        name,
        "a bucket for each bound and one more, cumulative, the last with the count",
    )
    _expect(0 <= row.sum < math.inf, name, "a finite sum, 0 or more")
    return HistogramSnapshot(bounds, tuple(row.buckets[:-1]), row.count, row.sum, _sketch(name, row))


def _sketch(name: str, row: _HistogramRow) -> Sketch:
    indexes, numbers = list(accumulate(row.bins[::2])), row.bins[1::2]
    scale = row.scale
    _expect(
        0 <= scale <= MAX_SCALE
        and len(indexes) == len(numbers)
        and all(number > 0 for number in numbers)
        and all(a < b for a, b in pairwise(indexes))
        # No float is outside of these bins.
        and all(-1_075 * 2**scale <= index <= 1_024 * 2**scale for index in indexes)
        and row.zeros >= 0
        and row.zeros + sum(numbers) == row.count,
        name,
        "bins that ascend and add up to the count",
    )
    if not indexes:
        return Sketch(scale, {}, row.zeros)
    _expect(0 < row.smallest <= row.largest < math.inf, name, "a smallest and a largest value")
    return Sketch(scale, dict(zip(indexes, numbers, strict=True)), row.zeros, row.smallest, row.largest)
