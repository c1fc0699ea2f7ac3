"""What several recorders of one process have written of its metrics, each thing that happened counted once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sonde.metrics import (
    CounterReading,
    Description,
    GaugeReading,
    HistogramSnapshot,
    Reading,
    RegistrySnapshot,
    SeriesKey,
)


@dataclass(slots=True)
class WrittenMetrics:
    """What one writer has said of the metrics of its process.

    Attributes:
        process: the process and its registry; empty if the writer does not tell.
        figures: what was counted while it wrote, and what gauges held last.
        before: what was counted before it began; what is missing began at 0.
    """

    process: str = ""
    figures: RegistrySnapshot = field(default_factory=RegistrySnapshot)
    before: RegistrySnapshot = field(default_factory=RegistrySnapshot)


class _Span(NamedTuple):
    """A stretch of the life of one series."""

    begin: float
    end: float
    at_end: Reading
    figures: Reading


def united(writers: Iterable[WrittenMetrics]) -> RegistrySnapshot:
    """What writers of one process have seen together.

    Counters and histograms only grow, so what each writer saw is a stretch from one total to another. Where stretches
    lie upon each other, the writers saw the same, which counts once; what none of them saw is not in it.

    >>> def counted(total): return RegistrySnapshot(0, {SeriesKey("calls_total"): CounterReading(total)})
    >>> first, second = WrittenMetrics("p", counted(7)), WrittenMetrics("p", counted(5), before=counted(4))
    >>> united([first, second]).get("calls_total")
    CounterReading(total=9)
    """
    time_ns = 0
    spans: dict[SeriesKey, list[_Span]] = {}
    descriptions: dict[str, Description] = {}
    for writer in writers:
        time_ns = max(time_ns, writer.figures.time_ns)
        descriptions.update(writer.figures.descriptions)
        for key, figures in writer.figures.series.items():
            spans.setdefault(key, []).append(_span(writer.before.series, key, figures))
    return RegistrySnapshot(time_ns, {key: _joined(found) for key, found in spans.items()}, descriptions)


def _span(before: Mapping[SeriesKey, Reading], key: SeriesKey, figures: Reading) -> _Span:
    start = before.get(key)
    if start is None or type(start) is not type(figures):
        return _Span(0, _level(figures), figures, figures)
    at_end = start.merged(figures)  # type: ignore[arg-type]  # of the same type
    return _Span(_level(start), _level(at_end), at_end, figures)


def _joined(spans: list[_Span]) -> Reading:
    first, *others = sorted(spans, key=lambda span: (span.begin, -span.end))
    total, reached = first.figures, first
    for span in others:
        if isinstance(total, GaugeReading):  # a level has no stretch: the last word
            total = total.merged(span.figures)  # type: ignore[arg-type]
            continue
        if span.end <= reached.end:
            continue
        # Of what is seen in part, the rest; told from the states at both ends, which are of one series.
        new = span.figures if span.begin >= reached.end else span.at_end.since(reached.at_end)  # type: ignore[arg-type]
        total, reached = total.merged(new), span  # type: ignore[arg-type]
    return total


def _level(reading: Reading) -> float:
    if isinstance(reading, CounterReading):
        return reading.total
    return reading.count if isinstance(reading, HistogramSnapshot) else 0
