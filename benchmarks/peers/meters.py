"""Meters: counters and histograms of sonde, prometheus_client and OpenTelemetry, each by name and held in hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import prometheus_client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from benchmarks.peers.subject import Open, Subject
from sonde.metrics import Registry, record_tool_call

_TOOL = "read_file"
_numbers = count(1)  # prometheus_client's registries take a name once


class DiscardingMetrics(MetricExporter):
    """Takes metrics and does nothing with them."""

    def export(  # noqa: D102  # documented in the interface
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object
    ) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:  # noqa: D102  # as above
        return None

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: D102  # as above
        return True


def _nothing_left() -> None:
    return None


@contextmanager
def sonde_counter_by_name() -> Iterator[Subject]:
    """sonde: record_tool_call(name), which finds the counter by its label."""
    yield Subject("record(tool)", {"record": record_tool_call, "tool": _TOOL}, _nothing_left)


@contextmanager
def sonde_counter() -> Iterator[Subject]:
    """sonde: inc() of a counter in hand."""
    yield Subject("inc()", {"inc": Registry().counter("calls_total", {"tool_name": _TOOL}).inc}, _nothing_left)


@contextmanager
def sonde_histogram() -> Iterator[Subject]:
    """sonde: observe() of a histogram in hand, with explicit buckets and percentiles within 1 %; folded at the end."""
    histogram = Registry().histogram("seconds", {"tool_name": _TOOL})
    yield Subject("observe(0.0125)", {"observe": histogram.observe}, lambda: histogram.count)


@contextmanager
def prometheus_counter_by_name() -> Iterator[Subject]:
    """prometheus_client: labels(name).inc()."""
    counter = prometheus_client.Counter(f"calls_{next(_numbers)}", "Calls.", ["tool_name"], registry=None)
    yield Subject("labels(tool).inc()", {"labels": counter.labels, "tool": _TOOL}, _nothing_left)


@contextmanager
def prometheus_counter() -> Iterator[Subject]:
    """prometheus_client: inc() of a child in hand."""
    counter = prometheus_client.Counter(f"calls_{next(_numbers)}", "Calls.", ["tool_name"], registry=None)
    yield Subject("inc()", {"inc": counter.labels(_TOOL).inc}, _nothing_left)


@contextmanager
def prometheus_histogram() -> Iterator[Subject]:
    """prometheus_client: observe() of a child in hand, its default buckets; it keeps no percentiles."""
    histogram = prometheus_client.Histogram(f"seconds_{next(_numbers)}", "Seconds.", ["tool_name"], registry=None)
    yield Subject("observe(0.0125)", {"observe": histogram.labels(_TOOL).observe}, _nothing_left)


def _provider() -> MeterProvider:
    return MeterProvider([PeriodicExportingMetricReader(DiscardingMetrics())])


@contextmanager
def opentelemetry_counter() -> Iterator[Subject]:
    """OpenTelemetry SDK: counter.add with one attribute, a periodic reader, an exporter that discards."""
    provider = _provider()
    add = provider.get_meter("bench").create_counter("calls").add
    yield Subject("add(1, {'tool_name': tool})", {"add": add, "tool": _TOOL}, _nothing_left)
    provider.shutdown()


@contextmanager
def opentelemetry_histogram() -> Iterator[Subject]:
    """OpenTelemetry SDK: histogram.record with one attribute, a periodic reader, an exporter that discards."""
    provider = _provider()
    record = provider.get_meter("bench").create_histogram("seconds").record
    yield Subject("record(0.0125, {'tool_name': tool})", {"record": record, "tool": _TOOL}, _nothing_left)
    provider.shutdown()


COUNTERS_BY_NAME: dict[str, Open] = {
    "sonde": sonde_counter_by_name,
    "prometheus_client": prometheus_counter_by_name,
    "OpenTelemetry": opentelemetry_counter,
}
COUNTERS: dict[str, Open] = {"sonde": sonde_counter, "prometheus_client": prometheus_counter}
HISTOGRAMS: dict[str, Open] = {
    "sonde": sonde_histogram,
    "prometheus_client": prometheus_histogram,
    "OpenTelemetry": opentelemetry_histogram,
}
