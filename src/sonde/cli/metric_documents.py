"""The document of ``metrics``; see :mod:`sonde.cli.documents`."""

from __future__ import annotations

import sys

import msgspec

from sonde.metrics import Counter, Description, Family, Gauge, Histogram

_INT_MAX = 2**63 - 1


class BucketDocument(msgspec.Struct, frozen=True):
    """A bucket of a histogram, in ``metrics``."""

    le: float | None
    count: int


class MetricDocument(msgspec.Struct, frozen=True):
    """One series, of ``metrics``."""

    record: str
    origin: str
    name: str
    labels: dict[str, str]
    help: str
    unit: str
    value: int | float | None
    count: int | None
    sum: float | None
    min: float | None
    max: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    relative_error: float | None
    buckets: list[BucketDocument] | None


def metric_document(family: Family, series: Counter | Gauge | Histogram, *, origin: str) -> MetricDocument:
    """The document of one series of a family."""
    help_, unit = family.description or Description("")
    labels = dict(series.labels)
    record = str(family.type)
    if not isinstance(series, Histogram):
        nothing = (None,) * 9
        return MetricDocument(record, origin, family.name, labels, help_, unit, number_of(series), *nothing)
    now = series.snapshot()
    has_values = now.count > 0
    buckets = [BucketDocument(bound, count) for bound, count in zip(now.bounds, now.cumulative, strict=True)]
    return MetricDocument(
        record=record,
        origin=origin,
        name=family.name,
        labels=labels,
        help=help_,
        unit=unit,
        value=None,
        count=now.count,
        sum=now.sum,
        min=(0.0 if now.sketch.zeros else now.sketch.smallest) if has_values else None,
        max=now.sketch.largest if has_values else None,
        p50=now.percentile(0.5) if has_values else None,
        p90=now.percentile(0.9) if has_values else None,
        p99=now.percentile(0.99) if has_values else None,
        relative_error=now.sketch.relative_error,
        buckets=[*buckets, BucketDocument(None, now.count)],  # JSON has no infinity
    )


def number_of(series: Counter | Gauge) -> int | float:
    """The value; a float where it is past 64 bits, which few readers of JSON take, and at most the largest float."""
    value = series.get()
    return value if isinstance(value, float) or value <= _INT_MAX else float(min(value, sys.float_info.max))
