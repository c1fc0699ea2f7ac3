"""The persister: lossless, in order, bounded, and honest about what it could not write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from sonde.errors import ConfigError, EventEncodeError, StoreUnavailableError
from sonde.events import EventType, Position
from sonde.hub import Hub, HubConfig
from sonde.persister import FlushReport, Persister
from sonde.redaction import SecretRedactor
from sonde.store import AppendResult, Record, SQLiteStore


class UnwillingStore(SQLiteStore):
    """A real store that refuses appends while ``refusal`` is set, and notes the size of each batch that it took."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.refusal: Exception | None = None
        self.refused = threading.Event()
        self.batches: list[int] = []

    def append_batch(self, records: Sequence[Record]) -> AppendResult:
        if self.refusal is not None:
            self.refused.set()
            raise self.refusal
        self.batches.append(len(records))
        return super().append_batch(records)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def store() -> Iterator[UnwillingStore]:
    store = UnwillingStore()
    yield store
    store.close()


def numbers(store: SQLiteStore, stream_id: str = "s") -> list[int]:
    return [event.data["i"] for event in store.read(stream_id) if event.type == "n"]


def test_flush_is_a_barrier(hub: Hub, store: UnwillingStore) -> None:
    """What was published before flush is committed when it returns, whatever the live bounds and the rate limit are."""
    with Persister(hub, store, "s") as persister:
        for i in range(5000):
            hub.emit("n", i=i)
        report = persister.flush()
        assert report
        assert report == FlushReport(committed=5000, pending=0, dropped={}, error=None)
        assert numbers(store) == list(range(5000))


def test_flush_is_done_although_others_go_on_publishing(hub: Hub, store: UnwillingStore) -> None:
    """Its report is about what was published before the call: what comes meanwhile does not make it incomplete."""
    ended = threading.Event()

    def publish() -> None:
        while not ended.is_set():
            for _ in range(100):
                hub.emit("other")
            time.sleep(0.001)

    with Persister(hub, store, "s") as persister:
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            for i in range(20):
                hub.emit("n", i=i)
                report = persister.flush()
                assert report, report
            assert numbers(store) == list(range(20))
        finally:
            ended.set()
            publisher.join()


def test_an_idle_writer_commits_at_once(store: UnwillingStore) -> None:
    """A lone event is in the store long before the flush interval is over, with nobody flushing."""
    with Hub(HubConfig(flush_interval_s=30)) as hub, Persister(hub, store, "s", flush_interval_s=30):
        hub.emit("n", i=1)
        event = next(store.follow(Position.START, timeout_s=10))
        assert event.data == {"i": 1}


def test_each_event_goes_to_the_stream_of_its_session(hub: Hub, store: UnwillingStore) -> None:
    """Without a stream of its own, one persister serves many sessions; events without one go to "default"."""
    with Persister(hub, store) as persister:
        hub.emit("n", i=1, session_id="a")
        hub.emit("n", i=2, session_id="b")
        hub.emit("n", i=3)
        persister.flush()
        assert [numbers(store, stream) for stream in ("a", "b", "default")] == [[1], [2], [3]]


def test_batches_grow_while_the_writer_is_behind(hub: Hub, store: UnwillingStore) -> None:
    """A backlog is written in ever larger transactions, not in batches of the first size."""
    store.refusal = StoreUnavailableError("locked")
    with Persister(hub, store, "s", batch_size=10) as persister:
        hub.emit("n", i=0)
        assert store.refused.wait(10)
        for i in range(1, 30_000):
            hub.emit("n", i=i)
        hub.flush()
        store.refusal = None
        assert persister.flush(timeout_s=30)
    assert numbers(store) == list(range(30_000))
    assert len(store.batches) < 100
    assert max(store.batches) > 1000


def test_a_failed_write_is_retried_in_order(hub: Hub, store: UnwillingStore) -> None:
    """While the store refuses, events wait; when it is back all are written in order, and the failure is counted."""
    store.refusal = StoreUnavailableError("disk full")
    with Persister(hub, store, "s") as persister:
        for i in range(500):
            hub.emit("n", i=i)
        assert store.refused.wait(10)
        waiting = persister.flush(timeout_s=0.2)
        assert not waiting
        assert waiting.pending == 500
        assert waiting.error == "disk full"
        store.refusal = None
        assert persister.flush(timeout_s=30)
        assert persister.failures.counts["write"] >= 1
    assert numbers(store) == list(range(500))


def test_what_does_not_fit_is_counted_and_recorded_as_a_gap(store: UnwillingStore) -> None:
    """Past max_pending_bytes events are dropped; rows plus the gaps' counts are all that was published."""
    store.refusal = StoreUnavailableError("disk full")
    with Hub(session_id="s") as hub, Persister(hub, store, max_pending_bytes=200_000) as persister:
        for i in range(3000):
            hub.emit("n", i=i)
        hub.flush()
        store.refusal = None
        persister.flush(timeout_s=30)
        for i in range(3000, 3100):
            hub.emit("n", i=i)
        report = persister.flush(timeout_s=30)
        assert report.pending == 0
        assert sum(report.dropped.values()) == 3100 - report.committed > 0
    recorded = list(store.read("s"))
    gaps = [event for event in recorded if event.type == EventType.GAP]
    assert sum(gap.data["missed"] for gap in gaps) == sum(report.dropped.values())
    assert len(recorded) - len(gaps) == report.committed
    kept = numbers(store)
    assert kept == sorted(kept)
    hole = next(i for i, (a, b) in enumerate(pairwise(kept)) if b != a + 1)
    position_of_gap = [event.type for event in recorded].index(EventType.GAP)
    assert position_of_gap == hole + 1, "the gap lies where the events are missing"


def test_a_gap_is_recorded_even_if_nothing_follows(store: UnwillingStore) -> None:
    """When the store is back, the gap is written although no further event comes."""
    store.refusal = StoreUnavailableError("disk full")
    with Hub(session_id="s") as hub, Persister(hub, store, max_pending_bytes=20_000) as persister:
        for i in range(1000):
            hub.emit("n", i=i)
        hub.flush()
        store.refusal = None
        persister.flush(timeout_s=30)
        deadline_s = time.monotonic() + 10
        while not (gaps := list(store.read_by_type("s", EventType.GAP))) and time.monotonic() < deadline_s:
            time.sleep(0.01)  # polling for a condition, bounded by the deadline
        assert sum(gap.data["missed"] for gap in gaps) == 1000 - len(numbers(store))


def test_stop_is_bounded_and_says_what_is_not_written(
    hub: Hub, store: UnwillingStore, caplog: pytest.LogCaptureFixture
) -> None:
    """With a dead store, stop returns at its deadline with a report and a line in the log; a second says the same."""
    store.refusal = StoreUnavailableError("device is gone")
    persister = Persister(hub, store, "s")
    for i in range(50):
        hub.emit("n", i=i)
    began_s = time.monotonic()
    report = persister.stop(timeout_s=0.5)
    assert time.monotonic() - began_s < 5
    assert not report
    assert report.pending + sum(report.dropped.values()) == 50
    assert report.error == "device is gone"
    assert "device is gone" in caplog.text
    assert persister.stop() is report


def test_stop_reports_even_if_the_writer_cannot_be_released(hub: Hub) -> None:
    """A store that fails at the very end does not make stop raise; what was committed is reported."""

    class DyingStore(SQLiteStore):
        def release_writer(self, writer_id: str) -> None:
            raise StoreUnavailableError("device is gone")

    with DyingStore(":memory:") as store:
        persister = Persister(hub, store, "s")
        hub.emit("n", i=1)
        assert persister.stop()
        assert persister.failures.counts == {"release": 1}


def test_one_bad_record_does_not_cost_the_others(hub: Hub) -> None:
    """If the store refuses one event for what it holds, a stand-in takes its place and the rest is written."""

    class PickyStore(SQLiteStore):
        def append_batch(self, records: Sequence[Record]) -> AppendResult:
            if any(record.data_json == b'{"i":13}' for record in records):
                raise EventEncodeError("13 is unlucky")
            return super().append_batch(records)

    with PickyStore(":memory:") as store, Persister(hub, store, "s") as persister:
        for i in range(50):
            hub.emit("n", i=i)
        assert persister.flush()
        data = [event.data for event in store.read("s")]
    assert data[13] == {"$replaced": {"": "not recordable: EventEncodeError"}}
    assert [row for row in data if "i" in row] == [{"i": i} for i in range(50) if i != 13]


def test_data_is_sanitised_and_redacted_before_the_write(hub: Hub, store: UnwillingStore) -> None:
    """What JSON cannot carry is marked and secrets are gone, in the store; the live subscriber sees the raw data."""
    secret = "sk-ant-" + "api03-" + "a1B2c3D4" * 6
    with hub.subscribe() as live, Persister(hub, store, "s", redactor=SecretRedactor()) as persister:
        hub.emit("n", value=float("nan"), output=f"key is {secret}", prompt_tokens=7)
        assert persister.flush()
        (event,) = store.read("s")
        raw = live.get(timeout_s=10)
    assert raw is not None
    assert secret in raw.data["output"]
    assert secret not in str(event.data)
    assert event.data["prompt_tokens"] == 7
    assert event.data["value"] == "NaN"
    assert "/value" in event.data["$replaced"]


def test_close_of_the_hub_first_loses_nothing(store: UnwillingStore) -> None:
    """A hub that is closed before its persister hands everything over; stop then writes the rest."""
    hub = Hub()
    persister = Persister(hub, store, "s")
    for i in range(2000):
        hub.emit("n", i=i)
    hub.close()
    assert persister.stop()
    assert numbers(store) == list(range(2000))


def test_it_waits_out_a_lock_that_another_connection_holds(tmp_path: Path, hub: Hub) -> None:
    """A real lock on a real file delays the write and loses nothing."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path, busy_timeout_s=0.1) as store, Persister(hub, store, "s") as persister:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        for i in range(100):
            hub.emit("n", i=i)
        assert persister.flush(timeout_s=0.5).pending == 100
        other.execute("ROLLBACK")
        other.close()
        assert persister.flush(timeout_s=30)
        assert numbers(store) == list(range(100))


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("flush_interval_s", -1), ("max_pending_bytes", 0)])
def test_bounds_are_checked(hub: Hub, store: UnwillingStore, name: str, value: float) -> None:
    """A bound that cannot work raises ConfigError naming it."""
    with pytest.raises(ConfigError, match=name):
        Persister(hub, store, "s", **{name: value})


def test_an_unknown_overflow_is_refused(hub: Hub, store: UnwillingStore) -> None:
    """``overflow`` takes two words only."""
    with pytest.raises(ConfigError, match="'wait'"):
        Persister(hub, store, "s", overflow="wait")
