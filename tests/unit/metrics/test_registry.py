"""Registry: one metric for a name and labels, one type for a name, a bound on label sets, and the original's JSON."""

import io
import json
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sonde import metrics
from sonde.errors import ConfigError, MetricTypeError
from sonde.metrics import Description, MetricType, Registry

ORIGINAL = Path(__file__).parents[4] / "shared" / "data" / "go-original" / "metrics.json"

HOSTILE = ["1,b=2", "", "}", "{", "=", ",", "\\", "\\,", '"', "\n", "\\n", "é\u2028", "\udc80", "\0", "a}x{b=1"]


def test_the_same_name_and_labels_give_the_same_metric() -> None:
    """Whatever the order of the labels; others give another one."""
    registry = Registry()
    first = registry.counter("calls_total", {"a": "1", "b": "2"})
    assert registry.counter("calls_total", {"b": "2", "a": "1"}) is first
    assert registry.counter("calls_total") is not first
    assert registry.counter("calls_total", {}) is registry.counter("calls_total")


def test_get_finds_without_making() -> None:
    """What isn't there is None, and stays away."""
    registry = Registry()
    assert registry.get_counter("a") is registry.get_gauge("a") is registry.get_histogram("a") is None
    counter, gauge, histogram = registry.counter("a"), registry.gauge("b"), registry.histogram("c", {"x": "1"})
    assert registry.get_counter("a") is counter
    assert registry.get_gauge("b") is gauge
    assert registry.get_histogram("c", {"x": "1"}) is histogram
    assert registry.get_histogram("c") is registry.get_counter("b") is registry.get_gauge("a") is None
    assert (registry.counters(), registry.gauges(), registry.histograms()) == ([counter], [gauge], [histogram])


def test_a_name_has_one_type() -> None:
    """A second is an error that names both, whatever the labels."""
    registry = Registry()
    registry.counter("calls")
    with pytest.raises(MetricTypeError, match="cannot make histogram 'calls': it is a counter already"):
        registry.histogram("calls", {"a": "1"})
    with pytest.raises(MetricTypeError):
        registry.gauge("calls")


def test_the_series_of_a_name_share_its_buckets() -> None:
    """Those of the first; asking for others is an error."""
    registry = Registry()
    registry.histogram("x", {"a": "1"}, [1, 2])
    assert registry.histogram("x", {"a": "2"}).bounds == (1.0, 2.0)
    assert registry.histogram("x", {"a": "3"}, [1, 2]).bounds == (1.0, 2.0)
    with pytest.raises(ConfigError, match="leave them out or use another name"):
        registry.histogram("x", {"a": "4"}, [1, 3])


def test_a_refused_metric_leaves_nothing_behind() -> None:
    """An error takes no name: it may be used rightly afterwards."""
    registry = Registry()
    for labels in ({"a": []}, {"a": 1}, {1: "a", "b": "c"}, {"a-b": "c"}, [("a", "b")], "a"):
        with pytest.raises(ConfigError):
            registry.counter("calls", labels)  # type: ignore[arg-type]
    for name in ("a b", ["a"], None):
        with pytest.raises(ConfigError, match="cannot name a metric"):
            registry.counter(name)  # type: ignore[arg-type]
        assert registry.get_counter(name) is None  # type: ignore[arg-type]
    for buckets in (5, ["fast"], [10**400]):
        with pytest.raises(ConfigError, match="cannot use buckets"):
            registry.histogram("calls", buckets=buckets)  # type: ignore[arg-type]
    assert registry.get_counter("calls", {"a": []}) is None  # type: ignore[dict-item]
    registry.gauge("calls")
    with pytest.raises(ConfigError, match="at least 1"):
        Registry(max_series=0)


def test_hostile_label_values_stay_apart() -> None:
    """Each value has its own series and its own key in the JSON, which any parser reads."""
    registry = Registry()
    for value in HOSTILE:
        registry.counter("calls", {"a": value}).inc()
        registry.counter("calls", {"a": value, "b": "2"}).inc()
        assert registry.get_counter("calls", {"a": value}) is registry.counter("calls", {"a": value})
    registry.counter("calls", {"a": "1", "b": "2"}).inc()
    exported = json.loads(registry.export_json())["counters"]
    assert len(exported) == 2 * len(HOSTILE) + 1
    assert all(row["value"] == 1 for row in exported.values())


def test_label_sets_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Past 2,000 one series takes the rest; that is counted, and logged once."""
    registry, name = Registry(), f"calls_{uuid4().hex}"
    with caplog.at_level(logging.WARNING, "sonde"):
        for n in range(2_100):
            registry.counter(name, {"user": str(n)}).inc()
    overflow = registry.get_counter(name, {"overflow": "true"})
    assert overflow is not None
    assert overflow.get() == 100
    assert len(registry.counters()) == 2_001
    assert registry.overflowed == {name: 100}
    assert sum(counter.get() for counter in registry.counters()) == 2_100
    (line,) = [record.getMessage() for record in caplog.records]
    assert "has 2000 label sets" in line
    assert registry.counter(name, {"user": "7"}).get() == 1
    assert registry.counter("another", {"user": "7"}).labels == {"user": "7"}


def shape(value: Any) -> Any:
    """The keys and kinds of values, all the way down; the keys of series, and how often buckets come, are data."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


@pytest.mark.skipif(not ORIGINAL.exists(), reason="the original's files are not here")
def test_json_has_the_originals_shape() -> None:
    """The same groups, keys, order of keys, kinds of values, and number of buckets."""
    original = json.loads(ORIGINAL.read_text())
    registry = Registry()
    for row in original["counters"].values():
        registry.counter(row["name"], row["labels"]).add(row["value"])
    for row in original["gauges"].values():
        registry.gauge(row["name"], row["labels"]).set(row["value"])
    for row in original["histograms"].values():
        histogram = registry.histogram(row["name"], row["labels"])
        for _ in range(row["count"]):
            histogram.observe(row["sum"] / row["count"])
    ours = json.loads(registry.export_json())
    assert json.dumps(shape(ours)) == json.dumps(shape(original))
    assert ours["counters"] == original["counters"]
    assert ours["gauges"] == original["gauges"]


def test_write_to_gives_the_bytes_written() -> None:
    """An empty registry has its three groups, too."""
    file = io.BytesIO()
    assert Registry().write_to(file) == len(file.getvalue())
    assert json.loads(file.getvalue()) == {"counters": {}, "gauges": {}, "histograms": {}}


def test_predefined_recorders_fill_their_metrics() -> None:
    """Each of them its own, with the original's names and labels, in the default registry."""
    tool = uuid4().hex
    metrics.record_tool_call(tool)
    metrics.record_tool_call(tool)
    metrics.record_tool_duration(tool, 0.5)
    metrics.record_model_request(tool)
    metrics.record_model_latency(2)
    metrics.record_storage_operation(tool)
    metrics.record_storage_error(tool)
    metrics.set_active_sessions(5)
    metrics.inc_active_sessions()
    metrics.dec_active_sessions()
    metrics.dec_active_sessions()
    assert metrics.counter("tool_calls_total", {"tool_name": tool}).get() == 2
    assert metrics.histogram("tool_duration_seconds", {"tool_name": tool}).sum == 0.5
    assert metrics.counter("model_requests_total", {"model": tool}).get() == 1
    assert metrics.histogram("model_latency_seconds").count >= 1
    assert metrics.counter("storage_operations_total", {"operation": tool}).get() == 1
    assert metrics.counter("storage_errors_total", {"operation": tool}).get() == 1
    assert metrics.gauge("active_sessions").get() == 4


def test_memory_is_measured() -> None:
    """What the process holds, and the most that it held, in bytes."""
    metrics.record_memory_stats()
    held = {gauge.labels["kind"]: gauge.get() for gauge in metrics.DEFAULT_REGISTRY.gauges() if gauge.labels}
    assert held["peak_rss"] > 5_000_000
    assert held.get("rss", 5_000_001) > 5_000_000


def test_families_are_sorted_by_name_and_labels() -> None:
    """Each name once, with its type, what was said about it, and its series; both in order."""
    registry = Registry()
    for labels in ({"b": "2"}, {"a": "2"}, {"a": "10"}, {}):
        registry.counter("tool_calls_total", labels)
    registry.histogram("x_seconds")
    registry.gauge("load")
    registry.describe("x_seconds", "How long x took.", "seconds")
    assert [(family.name, family.type, family.description) for family in registry.families()] == [
        ("load", MetricType.GAUGE, None),
        ("tool_calls_total", MetricType.COUNTER, Description("Calls of tools.")),
        ("x_seconds", MetricType.HISTOGRAM, Description("How long x took.", "seconds")),
    ]
    calls = registry.families()[1]
    assert [dict(counter.labels) for counter in calls.series] == [{}, {"a": "10"}, {"a": "2"}, {"b": "2"}]
    assert calls.series[0] is registry.get_counter("tool_calls_total")


def test_the_last_description_holds() -> None:
    """In its registry only, and over the predefined one, which every registry has."""
    registry, other = Registry(), Registry()
    assert registry.description("x") is None
    for help_ in ("first", "second\n\udc80"):
        registry.describe("x", help_)
        registry.describe("tool_calls_total", help_)
    assert registry.description("x") == registry.description("tool_calls_total") == Description("second\n\\udc80", "")
    assert other.description("x") is None
    assert other.description("tool_calls_total") == Description("Calls of tools.")
    names = [name for constant, name in vars(metrics.names).items() if constant.isupper()]
    assert len(names) == 8
    assert all(other.description(name) for name in names)


@pytest.mark.parametrize(
    ("name", "help_", "unit", "allowed"),
    [
        ("a b", "x", "", "letters, digits, '_' and ':' are allowed"),
        ("x", None, "", "a sentence is expected"),
        ("x", "x", "per cent", "letters, digits, '_' and ':' are allowed"),
        ("x", "x", None, "letters, digits, '_' and ':' are allowed"),
        ("x_seconds", "x", "bytes", "the name must end in '_bytes', or '_bytes_total'"),
        ("seconds", "x", "seconds", "rename the metric or leave the unit out"),
    ],
)
def test_a_description_says_what_is_allowed(name: str, help_: str, unit: str, allowed: str) -> None:
    """A wrong one is an error that tells the right ones, and changes nothing."""
    registry = Registry()
    with pytest.raises(ConfigError, match=allowed):
        registry.describe(name, help_, unit)
    assert registry.description(name) is None
    registry.describe("sent_bytes_total", "What was sent.", "bytes")
