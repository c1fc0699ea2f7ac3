"""Metric sheets: the families of a registry as tables, counters and gauges in one, histograms in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from sonde.cli.metric_documents import number_of
from sonde.cli.plots import Glyphs, LogAxis, share, sparkline
from sonde.cli.sheet import Sheet
from sonde.cli.wording import amount_text, bytes_text, dollars, duration_text, shortened
from sonde.metrics import Counter, Family, Gauge, Histogram, HistogramSnapshot, MetricType, Sketch

_SERIES = 10  # of a family, unless all are wanted
_FIRST_CELLS = 32
_NONE = Text("-", "dim")
_BLANK = Text("")


class _Row(NamedTuple):
    """One series: the labels that tell it from its siblings, and what it has."""

    labels: dict[str, str]
    series: Counter | Gauge | Histogram
    size: float


def print_families(families: Sequence[Family], console: Console, *, glyphs: Glyphs | None, full: bool) -> bool:
    """Print families of one origin; without ``glyphs`` there are no plots. Whether there are distributions."""
    numbers = [family for family in families if family.type is not MetricType.HISTOGRAM]
    if numbers:
        sheet = Sheet("METRIC", width=console.width, first_cells=_FIRST_CELLS)
        sheet.column("VALUE")
        shares = glyphs if any(map(_has_shares, numbers)) else None
        if shares is not None:
            sheet.column("SHARE", rank=1, is_left=True)
        for family in numbers:
            _add_numbers(sheet, family, shares, full=full)
        sheet.print(console)
    histograms = [family for family in families if family.type is MetricType.HISTOGRAM]
    if histograms:
        sheet = Sheet("HISTOGRAM", width=console.width, first_cells=_FIRST_CELLS)
        sheet.column("COUNT")
        for head, rank in (("MIN", 7), ("P50", 1), ("P90", 4), ("P99", 3), ("MAX", 6), ("SUM", 5)):
            sheet.column(head, rank=rank)
        if glyphs is not None:
            sheet.column("DISTRIBUTION", rank=2, is_left=True)
        for family in histograms:
            _add_histograms(sheet, family, glyphs, full=full)
        sheet.print(console)
        return sheet.shows("DISTRIBUTION")
    return False


def _add_numbers(sheet: Sheet, family: Family, glyphs: Glyphs | None, *, full: bool) -> None:
    text_of = _wording(family)
    rows = _rows(family)
    total = sum(row.size for row in rows)
    has_shares = _has_shares(family)
    for name, row in _named(family, rows, figures=1 + (glyphs is not None), sheet=sheet, full=full):
        cells = [Text(text_of(row.size))]
        if glyphs is not None:
            cells.append(Text(share(row.size / total, glyphs), "cyan") if has_shares and total else _BLANK)
        sheet.row(name, *cells)


def _has_shares(family: Family) -> bool:
    """Of one series there are none, and the levels of gauges add up to nothing."""
    return family.type is MetricType.COUNTER and len(family.series) > 1


def _add_histograms(sheet: Sheet, family: Family, glyphs: Glyphs | None, *, full: bool) -> None:
    text_of = _wording(family)
    rows = _rows(family)
    now_of = {id(row.series): row.series.snapshot() for row in rows if isinstance(row.series, Histogram)}
    axis = _axis([now.sketch for now in now_of.values()])
    for name, row in _named(family, rows, figures=7 + (glyphs is not None), sheet=sheet, full=full):
        now = now_of[id(row.series)]
        cells = [Text(f"{now.count:,}")]
        cells += [Text(text_of(figure)) if now.count else _NONE for figure in _figures(now)]
        if glyphs is not None:
            counts = axis.weighed(_values(now.sketch))
            cells.append(Text(sparkline(counts, glyphs), "cyan") if now.count else _NONE)
        sheet.row(name, *cells)


def _figures(now: HistogramSnapshot) -> tuple[float, ...]:
    smallest = 0.0 if now.sketch.zeros else now.sketch.smallest
    p50, p90, p99 = (now.percentile(p) for p in (0.5, 0.9, 0.99))
    return smallest, p50, p90, p99, now.sketch.largest, now.sum


def _named(family: Family, rows: list[_Row], *, figures: int, sheet: Sheet, full: bool) -> Iterator[tuple[Text, _Row]]:
    """Each row with its first cell. Labels that all series share stand beside the family's name, and once."""
    shared = _shared([row.series.labels for row in rows])
    head = Text(family.name, "bold")
    if shared:
        head.append(f"  {_labels_text(shared)}", "not bold dim")
    if len(rows) == 1:
        yield head, rows[0]
        return
    sheet.row(head, *[_BLANK] * figures)
    shown = rows if full else rows[:_SERIES]
    for row in shown:
        own = {name: value for name, value in row.labels.items() if name not in shared}
        yield Text(f"  {_labels_text(own) or '(no labels)'}"), row
    if len(rows) > len(shown):
        rest = Text(f"  ⋯ {len(rows) - len(shown):,} more; all with --full", "dim")
        sheet.row(rest, *[_BLANK] * figures)


def _rows(family: Family) -> list[_Row]:
    """The series, the largest first."""
    rows = [
        _Row(dict(series.labels), series, series.count if isinstance(series, Histogram) else number_of(series))
        for series in family.series
    ]
    return sorted(rows, key=lambda row: -row.size)


def _shared(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = labels
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _labels_text(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={shortened(value, 60)}" for name, value in labels.items())


def _axis(sketches: Sequence[Sketch]) -> LogAxis:
    """One for a family, so that its series can be compared."""
    bounds = [bound for sketch in sketches if sketch.bins for bound in (sketch.smallest, sketch.largest)]
    return LogAxis.over(bounds)


def _values(sketch: Sketch) -> Iterator[tuple[float, int]]:
    """The middle of each bin, and how many values it has."""
    if sketch.zeros:
        yield 0.0, sketch.zeros
    for index, number in sketch.bins.items():
        middle = 2.0 ** ((index - 0.5) / 2**sketch.scale)
        yield max(sketch.smallest, min(sketch.largest, middle)), number


def _wording(family: Family) -> Callable[[float], str]:
    """How values of a family read, by the unit that was stated or that the name ends in."""
    unit = family.description.unit if family.description else ""
    name = family.name.removesuffix("_total")
    if unit == "seconds" or name.endswith("_seconds"):
        return duration_text
    if unit == "bytes" or name.endswith("_bytes"):
        return lambda value: bytes_text(round(value))
    if unit == "usd" or name.endswith("_usd"):
        return dollars
    return number_text


def number_text(value: float) -> str:
    """A plain number: exact where it is whole and not huge, else with three digits or more.

    >>> [number_text(value) for value in (3, 12_345.0, 0.123456789, 99.96, 1234.5, 123_456_789_012, -2.5)]
    ['3', '12,345', '0.123', '100', '1,234', '123.5G', '-2.5']
    """
    if abs(value) >= 1e9:
        return amount_text(value) if value > 0 else f"-{amount_text(-value)}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
