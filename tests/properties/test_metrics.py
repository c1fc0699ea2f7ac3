"""Metrics: what holds for any values, labels and order of updates."""

import math
import sys
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.metrics import Gauge, Histogram, Registry, Sketch

VALUES = st.floats(0, sys.float_info.max)
ORDINARY = st.floats(1e-9, 1e9) | st.just(0.0)


def sketch_of(values: list[float]) -> Sketch:
    return Sketch().with_values(sorted(values))


@given(st.lists(ORDINARY, min_size=1), st.floats(0, 1))
def test_a_percentile_is_near_the_value_of_its_rank(values: list[float], p: float) -> None:
    """Within 1 % of nearest rank, for values within 64 doublings."""
    histogram = Histogram("x")
    for value in values:
        histogram.observe(value)
    expected = sorted(values)[max(1, math.ceil(p * len(values))) - 1]
    assert histogram.percentile(p) == pytest.approx(expected, rel=0.01, abs=0)


@given(st.lists(VALUES), st.lists(VALUES))
def test_merging_is_adding_up(some: list[float], others: list[float]) -> None:
    """Two merged sketches are the sketch of all values, at whatever scale; so is adding in two steps."""
    whole = sketch_of(some + others)
    assert sketch_of(some).merged(sketch_of(others)) == whole
    assert sketch_of(some).with_values(sorted(others)) == whole
    assert whole.count == len(some) + len(others)
    assert len(whole.bins) <= 4_096
    assert not whole.bins or max(whole.bins) - min(whole.bins) < 4_096


@given(st.lists(VALUES, max_size=30), st.lists(st.floats(0.001, 1e6), unique=True, max_size=8))
def test_buckets_are_cumulative_and_end_in_the_count(values: list[float], bounds: list[float]) -> None:
    """Each bucket has the values at or below its bound."""
    histogram = Histogram("x", buckets=sorted(bounds))
    for value in values:
        histogram.observe(value)
    assert histogram.buckets() == {
        bound: sum(value <= bound for value in values) for bound in (*sorted(bounds), math.inf)
    }


LABELS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(',={}\\"12ab\n', max_size=6), max_size=3)


@given(st.lists(LABELS, max_size=12))
def test_no_two_label_sets_share_a_key(sets: list[dict[str, str]]) -> None:
    """As many rows are exported as there were different label sets."""
    registry = Registry()
    for labels in sets:
        registry.counter("calls", labels).inc()
    assert len(registry.export()["counters"]) == len({tuple(sorted(labels.items())) for labels in sets})


@given(st.lists(st.tuples(st.booleans(), st.integers(-100, 100)), max_size=2_000))
def test_a_gauge_is_its_last_set_and_what_came_after(updates: list[tuple[bool, int]]) -> None:
    """For any order of sets and additions."""
    gauge = Gauge("x")
    for is_set, amount in updates:
        (gauge.set if is_set else gauge.add)(amount)
    *_, expected = accumulate(updates, lambda held, update: update[1] + (0 if update[0] else held), initial=0)
    assert gauge.get() == expected
