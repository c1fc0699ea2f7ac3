"""Metric events: what changed in a registry is in the session, at the end and every interval."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

import sonde
from sonde.clock import ManualClock
from sonde.errors import ConfigError
from sonde.events import Event, EventType, RecordedEvent
from sonde.metrics import CounterReading, GaugeReading, HistogramSnapshot, Registry, RegistrySnapshot
from sonde.query import read_metrics
from sonde.recorder.metric_events import MAX_EVENT_BYTES, MetricEvents
from sonde.store import SQLiteStore


@pytest.fixture
def store() -> Iterator[SQLiteStore]:
    with SQLiteStore(":memory:") as store:
        yield store


@pytest.fixture
def name() -> str:
    """A metric's name that no other test has."""
    return f"m_{uuid4().hex}"


def metric_events(store: SQLiteStore) -> list[RecordedEvent]:
    return list(store.read_by_type("s", EventType.METRICS.value))


def written(events: list[Event], registry: Registry, **more: Any) -> MetricEvents:
    made = MetricEvents(events.append, session_id="s", registry=registry, **more)
    made.start()
    return made


def test_what_changed_is_recorded_at_the_end(store: SQLiteStore, name: str) -> None:
    """Counted from the start of the recording, in its session and before its end; what did not change is not there."""
    sonde.counter(name, {"when": "before"}).inc(100)
    sonde.counter(name).inc(5)
    with sonde.record(store=store, session_id="s"):
        sonde.counter(name).inc(2)
        sonde.gauge(f"{name}_level").set(0.5)
        sonde.histogram(f"{name}_seconds").observe(0.25)
    types = [event.type for event in store.read("s")]
    assert types == ["session.started", "sonde.metrics", "sonde.metrics", "session.ended"]
    before, event = metric_events(store)
    assert (before.session_id, event.session_id) == ("s", "s")
    assert [family["name"] for family in before.data["before"]] == [name]
    assert "before" not in event.data
    found = read_metrics(store.read("s"))
    assert {key.name for key in found.series} == {name, f"{name}_level", f"{name}_seconds"}
    assert found.get(name) == CounterReading(2)
    assert found.get(name, {"when": "before"}) is None
    assert found.get(f"{name}_level") == GaugeReading(0.5, found.time_ns)
    observed = found.get(f"{name}_seconds")
    assert isinstance(observed, HistogramSnapshot)
    assert (observed.count, observed.sum, observed.percentile(0.5)) == (1, 0.25, 0.25)


def test_nothing_changed_is_no_event(store: SQLiteStore, name: str) -> None:
    """A program without metrics of its own has a session as ever."""
    sonde.counter(name).inc()
    with sonde.record(store=store, session_id="s"):
        sonde.counter(name)
    assert [event.type for event in store.read("s")] == ["session.started", "session.ended"]
    assert read_metrics(store.read("s")) == RegistrySnapshot()


def test_every_interval_what_changed_is_recorded(store: SQLiteStore, name: str) -> None:
    """While the program runs, without being asked; of several events the last word on each series holds."""
    with (
        sonde.record(store=store, session_id="s", metrics_interval_s=0.01) as rec,
        rec.hub.subscribe(types=[EventType.METRICS.value]) as live,
    ):
        for total in (1, 2, 3):
            sonde.counter(name).inc()
            event = live.get(timeout_s=30)
            assert event is not None
            (family,) = event.data["families"]
            assert [row["value"] for row in family["series"]] == [total]
        sonde.gauge(f"{name}_level").set(1)
    assert read_metrics(store.read("s")).get(name) == CounterReading(3)
    assert len(metric_events(store)) == 4
    assert [key.name for key in RegistrySnapshot.from_data(metric_events(store)[-1].data).series] == [f"{name}_level"]


@pytest.mark.parametrize("interval_s", [None, 0])
def test_without_an_interval_there_is_no_thread(store: SQLiteStore, interval_s: float | None) -> None:
    """Only the end is recorded then; with one, the thread ends with the recorder."""

    def names() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "sonde-ticker"]

    with sonde.record(store=store, session_id="s", metrics_interval_s=interval_s, memory_interval_s=None):
        assert names() == []


@pytest.mark.parametrize("interval_s", [-1, math.inf, math.nan, "60", True])
def test_an_interval_says_what_is_allowed(interval_s: Any) -> None:
    """Others are an error before anything is opened."""
    with pytest.raises(ConfigError, match="a finite number is expected, 0 or more; give None"):
        sonde.record(":memory:", metrics_interval_s=interval_s)


def test_a_gauge_that_goes_back_is_recorded_again() -> None:
    """What it held at the start is news after something else was recorded."""
    events: list[Event] = []
    registry = Registry()
    level = registry.gauge("level")
    level.set(1)
    writer = written(events, registry, clock=ManualClock(7))
    level.set(2)
    writer._write()
    level.set(1)
    writer.close(1)
    writer.close(1)
    assert [event.data["families"][0]["series"][0]["value"] for event in events] == [2.0, 1.0]
    assert read_metrics(events).get("level") == GaugeReading(1.0, 7)


def test_an_event_is_bounded() -> None:
    """Many series go into several events, each within its bytes; together they have all."""
    events: list[Event] = []
    registry = Registry()
    writer = written(events, registry)
    for n in range(2_000):
        registry.counter("calls_total", {"tool": f"a_tool_with_a_long_name_{n}"}).inc(n)
    for n in range(40):
        for value in range(1, 1_500):
            registry.histogram("x_seconds", {"n": str(n)}).observe(value / 1000)
    writer.close(10)
    assert len(events) >= 3
    assert all(len(Event.to_json(event)) <= MAX_EVENT_BYTES + 1_000 for event in events)
    assert read_metrics(events).series == registry.snapshot(clock=ManualClock(0)).series
    assert not writer.failures.counts


def test_failures_are_counted_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    """A publish that raises is no reason to fail; what it cost is in the next event."""
    events: list[Event] = []
    registry = Registry()
    writer = written(events, registry)

    def fail(_: Event) -> None:
        raise OSError("no")

    registry.counter("calls_total").inc()
    writer._publish = fail
    with caplog.at_level(logging.WARNING, "sonde"):
        writer._write()
    assert dict(writer.failures.counts) == {"metrics": 1}
    assert "cannot publish metrics: OSError('no')" in caplog.text
    writer._publish = events.append
    writer.close(1)
    assert read_metrics(events).get("calls_total") == CounterReading(1)


def test_close_waits_no_longer_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    """Where the thread is stuck in an event, that is counted and logged, and closing goes on."""
    writer = written([], Registry())
    with writer._turn, caplog.at_level(logging.WARNING, "sonde"):
        writer.close(0.01)
    assert dict(writer.failures.counts) == {"metrics": 1}
    assert "cannot publish the last metrics within 0.01 s" in caplog.text


def event_of(writer_id: str, registry: Registry, session_id: str = "s") -> Event:
    data = registry.snapshot(clock=ManualClock(1)).to_data()
    return sonde.PublishedEvent("sonde.metrics", 1, session_id, data=data, writer_id=writer_id, seq=1)


def test_writers_are_added_up() -> None:
    """Of each the last word holds; the same process in two sessions is two."""
    registry = Registry()
    events = []
    for writer_id, session_id in (("a", "s"), ("b", "s"), ("a", "t")):
        for _ in range(2):
            registry.counter("calls_total").inc()
            registry.counter("calls_total", {"only": writer_id + session_id}).inc()
            events.append(event_of(writer_id, registry, session_id))
    found = read_metrics([Event("note.taken"), *events])
    assert found.get("calls_total") == CounterReading(2 + 4 + 6)
    assert found.get("calls_total", {"only": "as"}) == CounterReading(2 + 2 + 2)


def test_recorders_of_one_process_count_the_same_once(store: SQLiteStore, name: str) -> None:
    """Each session has all that the process counted meanwhile; together they have it once, and gauges hold the last."""
    pages, seconds = sonde.counter(name), sonde.histogram(f"{name}_seconds")
    outer = sonde.record(store=store, session_id="outer")
    pages.inc(1)
    seconds.observe(0.5)
    inner = sonde.record(store=store, session_id="inner")
    pages.inc(10)
    seconds.observe(2.0)
    sonde.gauge(f"{name}_level").set(3)
    assert outer.close()
    pages.inc(100)
    seconds.observe(8.0)
    assert inner.close()
    pages.inc(1_000)
    with sonde.record(store=store, session_id="later"):
        pages.inc(10_000)
    parts = [read_metrics(store.read(session)).get(name) for session in ("outer", "inner", "later")]
    assert parts == [CounterReading(11), CounterReading(110), CounterReading(10_000)]
    found = read_metrics(store.read_all())
    assert found.get(name) == CounterReading(10_111)
    observed, level = found.get(f"{name}_seconds"), found.get(f"{name}_level")
    assert isinstance(observed, HistogramSnapshot)
    assert (observed.count, observed.sum, observed.percentile(1.0)) == (3, 10.5, pytest.approx(8.0, rel=0.01))
    assert isinstance(level, GaugeReading)
    assert level.value == 3


def test_what_cannot_be_read_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Data of a newer release, and a name that is something else in another writer; the rest counts."""
    first, second = Registry(), Registry()
    first.counter("calls_total").inc()
    second.gauge("calls_total").set(7)
    second.counter("more_total").inc(2)
    newer = Event("sonde.metrics", data={"version": 2})
    with caplog.at_level(logging.WARNING, "sonde"):
        found = read_metrics([event_of("a", first), newer, event_of("b", second)])
    assert {key.name: reading for key, reading in found.series.items()} == {
        "calls_total": CounterReading(1),
        "more_total": CounterReading(2),
    }
    assert "left out 1 unreadable events" in caplog.text
    assert "left out metric calls_total of one writer: a gauge, and a counter before" in caplog.text


def test_a_secret_in_a_label_is_not_stored(store: SQLiteStore, name: str) -> None:
    """Labels are redacted like all else, and the figures stay."""
    secret = "sk-ant-api03-" + "a1B2" * 20
    with sonde.record(store=store, session_id="s"):
        sonde.counter(name, {"api_key": secret}).inc(4)
        sonde.counter(f"{name}_token_total").inc(5)
    (event,) = metric_events(store)
    assert secret not in str(event.data)
    found = read_metrics([event])
    assert sorted(reading.total for reading in found.series.values() if isinstance(reading, CounterReading)) == [4, 5]


def test_a_disabled_recorder_records_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither thread nor event."""
    monkeypatch.setenv("SONDE_DISABLED", "1")
    with sonde.record(session_id="s", metrics_interval_s=0.01):
        sonde.counter(name).inc()
        assert "sonde-ticker" not in [thread.name for thread in threading.enumerate()]
