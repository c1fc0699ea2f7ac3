"""Page: the families of some sources as ``prometheus_client`` renders them, each name once."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from sonde.exporters.prometheus.source import Source
from sonde.failures import FailureLog
from sonde.metrics import Family, Histogram, MetricType

_LEFT_OUT = FailureLog(interval_s=math.inf)
"""Families that a page could not show; each is logged once in the process."""

_TOTAL = "_total"

# What a family claims besides its own name, whether or not its samples use it: OpenMetrics' parsers refuse a whole page
# in which another family has any of these.
_SUFFIXES = {
    MetricType.COUNTER: (_TOTAL, "_created"),
    MetricType.GAUGE: (),
    MetricType.HISTOGRAM: ("_bucket", "_count", "_sum", "_created"),
}


class Page:
    """One scrape: reads every metric once, when ``collect`` is iterated. A collector, as ``prometheus_client`` has it.

    A counter's samples end in ``_total``, whatever its name: OpenMetrics knows no others, and one page with two names
    for one counter, by format, would break every query. Of families that claim the same name, the first is shown; the
    others are left out, never added to it, and logged once.
    """

    def __init__(self, sources: Sequence[Source], *, names: Collection[str] = ()) -> None:
        """The families of all sources, or only the samples of these ``names`` (Prometheus' ``name[]`` parameter)."""
        self._sources = sources
        self._names = frozenset(names)

    def collect(self) -> Iterator[Metric]:
        """A metric of ``prometheus_client`` for each family."""
        for family in self._families():
            metric = _metric(family)
            if self._names:
                metric.samples = [sample for sample in metric.samples if sample.name in self._names]
            if metric.samples:
                yield metric

    def _families(self) -> Iterator[Family]:
        claimed: dict[str, Family] = {}
        for source in self._sources:
            for family in source.families():
                claims = _claims(family)
                first = next((claimed[name] for name in claims if name in claimed), None)
                if first is None:
                    claimed.update(dict.fromkeys(claims, family))
                    yield family
                elif first.series[:1] != family.series[:1]:  # metrics compare by identity: the same family, given twice
                    _LEFT_OUT.add(
                        f"{family.type} {family.name}, {first.type} {first.name}",
                        f"metrics page leaves out a {family.type} {family.name!r}: its name belongs to a {first.type} "
                        f"{first.name!r}, which takes precedence, and they are not added up; rename it",
                    )


def _root(family: Family) -> str:
    """The family's name as OpenMetrics has it: a counter's is without ``_total``, if that leaves anything."""
    if family.type is MetricType.COUNTER and family.name != _TOTAL:
        return family.name.removesuffix(_TOTAL)
    return family.name


def _claims(family: Family) -> list[str]:
    root = _root(family)
    return [root, *(root + suffix for suffix in _SUFFIXES[family.type])]


def _metric(family: Family) -> Metric:
    root = _root(family)
    help_, unit = family.description or ("", "")
    if not root.endswith(f"_{unit}"):  # Metric would rename the family
        unit = ""
    metric = Metric(root, help_.strip() or f"A {family.type} that nobody described.", str(family.type), unit)
    for series in family.series:
        if isinstance(series, Histogram):
            _add_histogram(metric, series)
        else:
            suffix = _TOTAL if family.type is MetricType.COUNTER else ""
            metric.add_sample(root + suffix, dict(series.labels), _float(series.get()))
    return metric


def _add_histogram(metric: Metric, histogram: Histogram) -> None:
    labels = dict(histogram.labels)
    now = histogram.snapshot()
    for bound, count in (*_buckets(now.bounds, now.cumulative), (math.inf, now.count)):
        le = floatToGoString(bound)  # type: ignore[no-untyped-call]  # the one form that OpenMetrics takes
        metric.add_sample(metric.name + "_bucket", {**labels, "le": le}, count)
    metric.add_sample(metric.name + "_count", labels, now.count)
    metric.add_sample(metric.name + "_sum", labels, now.sum)


def _buckets(bounds: Iterable[float], cumulative: Iterable[int]) -> Iterator[tuple[float, int]]:
    """Without those below 0: they are empty, since no value is negative, and OpenMetrics then allows no sum."""
    for bound, count in zip(bounds, cumulative, strict=True):
        if bound >= 0:
            yield bound + 0.0, count  # -0.0 becomes 0.0


def _float(value: float) -> float:
    """Prometheus knows floats only; a counter of integers grows past them."""
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max
