"""Snapshots of metrics: an algebra of sums and differences, and data that comes back as it was."""

import json
import math
import sys
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.clock import ManualClock
from sonde.events import encode_data, sanitize
from sonde.metrics import (
    CounterReading,
    GaugeReading,
    Histogram,
    HistogramSnapshot,
    Registry,
    RegistrySnapshot,
    SeriesKey,
    Sketch,
    Window,
)

VALUES = st.floats(0, sys.float_info.max)
ORDINARY = st.floats(1e-9, 1e9) | st.just(0.0)
EIGHTHS = st.integers(0, 10**6).map(lambda n: n / 8)  # floats whose sums are exact in any order
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.text('x,={}\\"\n\udc80é', max_size=2), max_size=2)
UPDATES = st.lists(
    st.tuples(st.just("calls_total"), LABELS, st.integers(0, 2**70))
    | st.tuples(st.just("load"), LABELS, st.floats(-1e308, 1e308))
    | st.tuples(st.sampled_from(["x_seconds", "y"]), LABELS, EIGHTHS),
    max_size=20,
)
BUCKETS: dict[str, list[float] | None] = {"x_seconds": None, "y": [1.0, 100.0]}


def snapshot_of(updates: list[tuple[str, dict[str, str], Any]], time_ns: int = 1) -> RegistrySnapshot:
    registry = Registry()
    for name, labels, amount in updates:
        if name == "calls_total":
            registry.counter(name, labels).inc(amount)
        elif name == "load":
            registry.gauge(name, labels).set(amount)
        else:
            registry.histogram(name, labels, BUCKETS[name]).observe(amount)
    registry.describe("load", "How busy.\n")
    registry.describe("nobody_has_this", "It is in no snapshot.")
    return registry.snapshot(clock=ManualClock(time_ns))


def level(reading: object) -> object:
    """A reading without what a difference cannot know: the extremes of a distribution."""
    if isinstance(reading, HistogramSnapshot):
        sketch = reading.sketch
        return (*(reading.bounds, reading.cumulative, reading.count, reading.sum), sketch.bins, sketch.zeros)
    return reading


def levels(snapshot: RegistrySnapshot) -> dict[SeriesKey, object]:
    return {key: level(reading) for key, reading in snapshot.series.items()}


@given(UPDATES, UPDATES)
def test_what_was_merged_can_be_taken_off_again(some: Any, others: Any) -> None:
    """(a merged b) since a is b, but for series of b that change nothing in a."""
    a, b = snapshot_of(some), snapshot_of(others, time_ns=2)
    expected = {
        key: reading
        for key, reading in levels(b).items()
        if not (
            (key in a.series and reading == CounterReading(0))
            or (isinstance(reading, GaugeReading) and getattr(a.series.get(key), "value", None) == reading.value)
        )
    }
    found = a.merged(b).since(a)
    assert levels(found) == expected
    assert found.time_ns == 2
    assert {*found.descriptions} == {key.name for key in expected} & {"load"}


@given(UPDATES, UPDATES)
def test_a_baseline_and_what_came_after_are_the_whole(some: Any, others: Any) -> None:
    """Earlier merged (later since earlier) is later, to the last figure, extremes of distributions included."""
    earlier, later = snapshot_of(some), snapshot_of(some + others, time_ns=2)
    found = earlier.merged(later.since(earlier))
    assert levels(found).keys() == levels(later).keys()
    for key, reading in later.series.items():
        other = found.series[key]
        if isinstance(reading, HistogramSnapshot):
            assert other == reading
        elif isinstance(reading, GaugeReading):
            assert isinstance(other, GaugeReading)
            assert other.value == reading.value
        else:
            assert other == reading


@given(UPDATES, UPDATES, UPDATES)
def test_the_order_of_merging_does_not_matter(a: Any, b: Any, c: Any) -> None:
    """Merging is commutative and associative, and nothing merged with something is that."""
    x, y, z = snapshot_of(a, 1), snapshot_of(b, 2), snapshot_of(c, 3)
    assert x.merged(y) == y.merged(x)
    assert x.merged(y).merged(z) == x.merged(y.merged(z))
    assert x.merged(RegistrySnapshot()) == RegistrySnapshot().merged(x) == x
    assert not x.since(x).series


@given(UPDATES, UPDATES, st.integers(200, 2_000))
def test_data_comes_back_as_it_was(some: Any, others: Any, max_bytes: int) -> None:
    """Through JSON and the recorder's sanitiser, in one piece or in parts, also as metrics of a registry."""
    whole = snapshot_of(some, 1).merged(snapshot_of(others, 2))
    data = whole.to_data()
    assert RegistrySnapshot.from_data(json.loads(json.dumps(data))) == whole
    assert sanitize(data) is data
    assert RegistrySnapshot.from_data(msgspec.json.decode(encode_data(data))) == whole
    parts = whole.to_parts(max_bytes=max_bytes)
    together = RegistrySnapshot()
    for part in parts:
        together = together.merged(RegistrySnapshot.from_data(part))
        is_one_series = sum(len(family["series"]) for family in part["families"]) <= 1
        assert len(encode_data(part)) <= max_bytes + 100 or is_one_series
    assert together == whole
    restored = Registry.from_snapshot(whole).snapshot(clock=ManualClock(2))
    assert restored.descriptions == whole.descriptions
    assert {key: level(getattr(reading, "value", reading)) for key, reading in restored.series.items()} == {
        key: level(getattr(reading, "value", reading)) for key, reading in whole.series.items()
    }


@given(st.lists(VALUES), st.lists(VALUES))
def test_a_sketch_taken_off_leaves_the_others_values(some: list[float], others: list[float]) -> None:
    """At whatever scale: the bins are those of the other values, and the extremes are bounds of theirs."""
    before = Sketch().with_values(sorted(some))
    difference = before.with_values(sorted(others)).since(before)
    direct = Sketch().with_values(sorted(others))
    steps = direct.scale - difference.scale
    assert steps >= 0
    joined: dict[int, int] = {}
    for index, number in direct.bins.items():
        joined[-(-index >> steps)] = joined.get(-(-index >> steps), 0) + number
    assert (difference.bins, difference.zeros) == (joined, direct.zeros)
    if joined:
        within = 1 + 1e-12  # where a bin ends is rounded
        assert difference.smallest <= direct.smallest * within
        assert difference.largest * within >= direct.largest
        assert difference.largest <= before.with_values(sorted(others)).largest


@given(st.lists(ORDINARY), st.lists(ORDINARY, min_size=1), st.floats(0, 1))
def test_percentiles_are_near_after_merging_and_taking_off(some: list[float], others: list[float], p: float) -> None:
    """Within 1 % of nearest rank: of both together, and of one alone after the other was taken off again."""
    a, b = Histogram("x"), Histogram("x")
    for value in some:
        a.observe(value)
    for value in others:
        b.observe(value)
    merged = a.snapshot().merged(b.snapshot())
    alone = merged.since(a.snapshot())
    for snapshot, values in ((merged, some + others), (alone, others)):
        expected = sorted(values)[max(1, math.ceil(p * len(values))) - 1]
        assert snapshot.percentile(p) == pytest.approx(expected, rel=0.01, abs=0)
        assert snapshot.count == len(values)


@given(st.lists(st.floats(1, 100), unique=True, max_size=6), st.lists(st.floats(1, 100), unique=True, max_size=6))
def test_of_other_buckets_the_shared_ones_are_merged(some: list[float], others: list[float]) -> None:
    """Counts at bounds that both histograms have stay exact, and the whole adds up."""
    a, b = Histogram("x", buckets=sorted([*some, 50.0])), Histogram("x", buckets=sorted([*others, 50.0]))
    values = [*some, *others, 50.0, 0.0]
    for value in values:
        a.observe(value)
        b.observe(value)
    merged = a.snapshot().merged(b.snapshot())
    assert set(merged.bounds) == {*some, 50.0} & {*others, 50.0}
    assert all(a < b for a, b in pairwise(merged.bounds))
    assert merged.buckets() == {
        **{bound: 2 * sum(value <= bound for value in values) for bound in merged.bounds},
        math.inf: 2 * len(values),
    }


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3)), min_size=5, max_size=150))
def test_a_window_has_what_came_after_its_begin(steps: list[tuple[float, int]]) -> None:
    """At any reading rate: what it covers it has exactly, it looks back far enough, and it holds 61 slices at most."""
    clock, histogram = ManualClock(), Histogram("x")
    window = Window(histogram, seconds=2.0, clock=clock)
    history: list[tuple[float, float]] = []
    for pause_s, number in steps:
        clock.advance(pause_s / 20)
        for n in range(number):
            histogram.observe(float(n))
            history.append((clock.monotonic_s(), float(n)))
        now_s = clock.monotonic_s()
        reading = window.read()
        begin_s = now_s - reading.covered_s
        lately = [value for at_s, value in history if at_s - begin_s > 1e-9]
        at_the_begin = [value for at_s, value in history if -1e-9 <= at_s - begin_s <= 1e-9]
        assert len(lately) <= reading.count <= len(lately) + len(at_the_begin)
        assert reading.covered_s >= min(now_s, 2.0) - 1e-9
        assert reading.covered_s <= 2.0 + 2 / 60 + 1.5 + 1e-9  # a sixtieth, and the longest pause
        assert len(window._slices) <= 61
