"""Plots: nothing falls out of them, whatever the figures are."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from sonde.cli.plots import ASCII, UNICODE, Glyphs, LogAxis, bar, share, sparkline
from sonde.cli.sheet import Sheet
from sonde.cli.timeline import Timeline

GLYPHS = st.sampled_from([UNICODE, ASCII])
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "M", "Z"]), max_size=40)


@given(st.lists(st.floats(-1, 1e9) | st.sampled_from([0.0, 1e-9, 1.0]), max_size=200), st.integers(1, 40))
def test_an_axis_has_each_value_in_one_cell(values: list[float], cells: int) -> None:
    """The counts add up to the number of values; bounds ascend, and inner values lie between those of their cell."""
    axis = LogAxis.over(values, cells=cells)
    assert len(axis.bounds) == cells + 1
    assert list(axis.bounds) == sorted(axis.bounds)
    assert axis.bounds[0] > 0
    counts = axis.counts(sorted(values))
    assert (len(counts), sum(counts)) == (cells, len(values))
    for cell, count in enumerate(counts[1:-1], 1):
        low, high = axis.bounds[cell] * (1 - 1e-6), axis.bounds[cell + 1] * (1 + 1e-6)
        assert count <= sum(1 for value in values if low <= value <= high)


@given(st.lists(st.integers(0, 10**9), max_size=80), GLYPHS)
def test_a_sparkline_tells_something_from_nothing(counts: list[int], glyphs: Glyphs) -> None:
    """One character a count; only 0 is drawn as nothing, the most as the highest, and more is never lower."""
    drawn = sparkline(counts, glyphs)
    heights = ["".join((glyphs.empty, glyphs.levels)).index(char) for char in drawn]
    assert [height == 0 for height in heights] == [count == 0 for count in counts]
    assert not any(counts) or max(heights) == 8
    ordered = sorted(zip(counts, heights, strict=True))
    assert [height for _, height in ordered] == sorted(heights)


@given(st.floats(-1, 1e6), st.integers(1, 20), GLYPHS)
def test_a_bar_keeps_its_width(ratio: float, cells: int, glyphs: Glyphs) -> None:
    """Whatever the ratio; it is empty for 0 alone, and full from 1 on."""
    drawn = bar(ratio, glyphs, cells=cells)
    assert len(drawn) == cells
    assert (drawn == glyphs.rest * cells) == (ratio <= 0)
    assert ratio < 1 or drawn == glyphs.parts[-1] * cells
    assert share(ratio, glyphs).endswith(" %")


@given(st.lists(st.integers(1, 2**62), max_size=100), st.integers(1, 70))
def test_a_timeline_counts_every_time(times_ns: list[int], cells: int) -> None:
    """The stretches touch, cover first to last, and have all events, at most 1/2048 of the span beside their own."""
    timeline = Timeline()
    for time_ns in times_ns:
        timeline.add(time_ns)
    found = timeline.stretches(cells)
    if not found:
        assert not times_ns or max(times_ns) - min(times_ns) < cells
        return
    assert len(found) == cells
    assert (found[0].from_ns, found[-1].to_ns) == (min(times_ns), max(times_ns) + 1)
    assert all(one.to_ns == other.from_ns for one, other in pairwise(found))
    assert sum(part.events for part in found) == len(times_ns)
    slack_ns = math.ceil(timeline.span_ns / 2048)
    for part in found:
        assert part.events <= sum(part.from_ns - slack_ns <= time_ns < part.to_ns + slack_ns for time_ns in times_ns)


@given(st.lists(st.integers(1_000_000, 1_000_000 + 2**14), min_size=2))
def test_a_timeline_does_not_depend_on_the_order(times_ns: list[int]) -> None:
    """Events that come late, from another process, are counted where they belong."""
    one, other = Timeline(), Timeline()
    for time_ns in times_ns:
        one.add(time_ns)
    for time_ns in reversed(times_ns):
        other.add(time_ns)
    assert one.stretches(10) == other.stretches(10)


@given(
    st.lists(st.lists(NAMES, min_size=4, max_size=4), max_size=6),
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
    st.integers(1, 120),
)
def test_a_sheet_never_runs_over(rows: list[list[str]], ranks: list[int], width: int) -> None:
    """However long the cells and however narrow the console; columns go by rank, the first one stays."""
    sheet = Sheet("NAME", width=width)
    for place, rank in enumerate(ranks):
        sheet.column(f"C{place}", rank=rank)
    for row in rows:
        sheet.row(*row)
    lines = [line.plain for line in sheet.lines()]
    assert all(cell_len(line) <= width for line in lines)
    shown = [rank for place, rank in enumerate(ranks) if f"C{place}" in lines[0].split()]
    hidden = [rank for place, rank in enumerate(ranks) if f"C{place}" not in lines[0].split()]
    assert not shown or not hidden or max(shown) <= min(hidden)
    assert lines[0][:1] == "N" or width < 4
