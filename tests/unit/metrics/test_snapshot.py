"""Snapshots: differences and sums by example, and data that is refused with the reason."""

import copy
from typing import Any

import pytest

from sonde.clock import ManualClock
from sonde.errors import EventDecodeError, MetricTypeError
from sonde.metrics import CounterReading, Description, GaugeReading, HistogramSnapshot, Registry, RegistrySnapshot


def example() -> Registry:
    registry = Registry()
    registry.counter("calls_total", {"tool": "a"}).inc(3)
    registry.gauge("load").set(0.5)
    for value in (0.0, 0.05, 0.5, 3.0):
        registry.histogram("x_seconds", buckets=[0.1, 1]).observe(value)
    registry.describe("load", "How busy.")
    return registry


def test_a_difference_has_what_changed() -> None:
    """Counters and histograms without what they had, gauges as they are, new series even with 0, no others."""
    registry = example()
    before = registry.snapshot(clock=ManualClock(1))
    registry.counter("calls_total", {"tool": "a"}).inc(2)
    registry.counter("calls_total", {"tool": "new"})
    registry.histogram("x_seconds").observe(0.5)
    registry.histogram("x_seconds").observe(2.0)
    after = registry.snapshot(clock=ManualClock(2))
    difference = after.since(before)
    assert difference.get("calls_total", {"tool": "a"}) == CounterReading(2)
    assert difference.get("calls_total", {"tool": "new"}) == CounterReading(0)
    assert difference.get("load") is None
    observed = difference.get("x_seconds")
    assert isinstance(observed, HistogramSnapshot)
    assert (observed.count, observed.sum, observed.cumulative) == (2, 2.5, (0, 1))
    assert observed.percentile(0.5) == pytest.approx(0.5, rel=0.01)
    assert difference.descriptions == {}
    registry.gauge("load").set(0.25)
    assert registry.snapshot(clock=ManualClock(3)).since(before).get("load") == GaugeReading(0.25, 3)


def test_what_began_anew_is_given_as_it_is() -> None:
    """Totals below the earlier ones are those of a program that was started again."""
    before = example().snapshot()
    again = Registry()
    again.counter("calls_total", {"tool": "a"}).inc()
    for value in (0.5, 0.5, 0.5, 0.5, 0.5):
        again.histogram("x_seconds", buckets=[0.1, 1]).observe(value)
    difference = again.snapshot().since(before)
    assert difference.get("calls_total", {"tool": "a"}) == CounterReading(1)
    assert difference.get("x_seconds") == again.snapshot().get("x_seconds")


def test_a_name_of_two_types_is_not_merged() -> None:
    """The error names both."""
    other = Registry()
    other.gauge("calls_total", {"tool": "z"})
    with pytest.raises(MetricTypeError, match="it is a counter in one snapshot and a gauge in the other"):
        example().snapshot().merged(other.snapshot())


def test_it_cannot_be_changed() -> None:
    """Neither its fields nor its series, also where the registry goes on."""
    registry = example()
    snapshot = registry.snapshot()
    with pytest.raises(TypeError):
        del snapshot.series[next(iter(snapshot.series))]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        snapshot.time_ns = 1  # type: ignore[misc]
    registry.counter("calls_total", {"tool": "a"}).inc()
    assert snapshot.get("calls_total", {"tool": "a"}) == CounterReading(3)


def test_stored_metrics_are_shown_as_live_ones() -> None:
    """A registry made of a snapshot has the same families, descriptions and JSON, and goes on counting."""
    registry = example()
    stored = Registry.from_snapshot(RegistrySnapshot.from_data(registry.snapshot().to_data()))
    assert stored.export() == registry.export()
    assert [family[:3] for family in stored.families()] == [family[:3] for family in registry.families()]
    assert stored.description("load") == Description("How busy.")
    stored.counter("calls_total", {"tool": "a"}).inc()
    stored.histogram("x_seconds", {"more": "1"}).observe(0.5)
    stored.histogram("x_seconds").observe(0.5)
    assert stored.counter("calls_total", {"tool": "a"}).get() == 4
    assert [histogram.bounds for histogram in stored.histograms()] == [(0.1, 1.0)] * 2
    assert stored.histogram("x_seconds").count == 5


def test_more_series_than_the_limit_are_restored() -> None:
    """What was stored is shown, however many label sets there are."""
    registry = Registry(max_series=3_000)
    for n in range(2_500):
        registry.counter("calls_total", {"n": str(n)})
    assert len(Registry.from_snapshot(registry.snapshot()).counters()) == 2_500


def test_a_total_past_all_floats_is_restored() -> None:
    """A counter of integers has no end, though no single amount may be so large; what is stored is what comes back."""
    registry = Registry()
    counter = registry.counter("bytes_total")
    for _ in range(100):
        counter.add(10**308)
    stored = RegistrySnapshot.from_data(registry.snapshot().to_data())
    assert Registry.from_snapshot(stored).counter("bytes_total").get() == 10**310


def test_a_part_holds_what_fits() -> None:
    """Series that are too many for one event are in several; one that is too large alone has its own."""
    registry = Registry()
    for n in range(100):
        registry.counter("calls_total", {"n": str(n)})
    registry.gauge("load", {"text": "x" * 5_000}).set(1)
    parts = registry.snapshot().to_parts(max_bytes=1_000)
    sizes = [len(family["series"]) for part in parts for family in part["families"]]
    assert sum(sizes) == 101
    assert max(sizes) > 10
    assert sizes[-1] == 1
    snapshot = registry.snapshot()
    assert snapshot.to_parts(max_bytes=1_000_000) == [snapshot.to_data()]
    assert RegistrySnapshot.from_data(RegistrySnapshot().to_data()) == RegistrySnapshot()


def put(path: str, value: object) -> Any:
    """A change of one place in the data of the example."""

    def change(data: Any) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in way:
            data = data[step]
        data[last] = value

    return change


COUNTER, GAUGE, HISTOGRAM = (f"families.{n}.series.0." for n in range(3))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("version", 2), "version '2': this release reads 1; upgrade sonde"),
        (put("version", None), "version 'None'"),
        (put("families", 1), "Expected `array`"),
        (put("families.0.type", "summary"), "Invalid value 'summary'"),
        (put("families.0.name", "a b"), "letters, digits, '_' and ':' are allowed"),
        (put("families.1.name", "calls_total"), "does not have one type"),
        (put(COUNTER + "value", -1), "a finite total, 0 or more"),
        (put(COUNTER + "value", float("nan")), "a finite total, 0 or more"),
        (put(COUNTER + "value", "1e5"), "a total in digits"),
        (put(COUNTER + "value", "9" * 5_000), "a total in digits"),
        (put(COUNTER + "labels", {"a-b": "c"}), "letters, digits and '_' are allowed"),
        (put(COUNTER + "labels", {"a": 1}), "Expected `str`"),
        (put(GAUGE + "value", float("inf")), "finite values"),
        (put("families.2.bounds", [1, 0.1]), "each above the one before"),
        (put(HISTOGRAM + "labels", {"le": "1"}), "le is the metric's own"),
        (put(HISTOGRAM + "buckets", [2, 3]), "a bucket for each bound and one more"),
        (put(HISTOGRAM + "buckets", [3, 2, 4]), "cumulative"),
        (put(HISTOGRAM + "buckets", [2, 3, 5]), "the last with the count"),
        (put(HISTOGRAM + "sum", -1.0), "a finite sum"),
        (put(HISTOGRAM + "scale", 7), "bins that ascend"),
        (put(HISTOGRAM + "bins.0", 10**9), "bins that ascend"),
        (put(HISTOGRAM + "bins.1", 0), "bins that ascend"),
        (put(HISTOGRAM + "bins.2", 0), "bins that ascend"),
        (put(HISTOGRAM + "bins.3", 2), "add up to the count"),
        (put(HISTOGRAM + "bins", [1, 1, 1]), "bins that ascend"),
        (put(HISTOGRAM + "zeros", 2), "add up to the count"),
        (put(HISTOGRAM + "smallest", 0.0), "a smallest and a largest value"),
    ],
)
def test_other_data_is_refused_with_the_reason(change: Any, reason: str) -> None:
    """One wrong place is an error that says what is wrong, and no other kind of error."""
    data = copy.deepcopy(example().snapshot().to_data())
    assert RegistrySnapshot.from_data(data).series
    change(data)
    with pytest.raises(EventDecodeError, match="cannot read metrics") as caught:
        RegistrySnapshot.from_data(data)
    assert reason in str(caught.value)


def test_a_series_that_is_there_twice_counts_as_both() -> None:
    """As where redaction made two label values one."""
    data = example().snapshot().to_data()
    for family in data["families"]:
        family["series"] *= 2
    twice = RegistrySnapshot.from_data(data)
    assert twice.get("calls_total", {"tool": "a"}) == CounterReading(6)
    observed = twice.get("x_seconds")
    assert isinstance(observed, HistogramSnapshot)
    assert observed.count == observed.sketch.count == 8


def test_unknown_keys_are_left_alone() -> None:
    """A note that the recorder made about replaced values is no reason to refuse the rest."""
    data = example().snapshot().to_data()
    assert RegistrySnapshot.from_data({**data, "$replaced": {"/x": "y"}}) == RegistrySnapshot.from_data(data)
