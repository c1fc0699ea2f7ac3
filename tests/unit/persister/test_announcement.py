"""What a persister says it committed: what the store took, as it took it, once each and in order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from sonde.errors import StoreUnavailableError
from sonde.events import decode_data
from sonde.hub import Hub
from sonde.persister import Persister
from sonde.redaction import SecretRedactor
from sonde.store import AppendResult, Record, SQLiteStore

SECRET = "sk-ant-api03-" + "a1B2c3D4" * 12


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def __call__(self, records: Sequence[Record]) -> None:
        self.records += records

    @property
    def numbers(self) -> list[object]:
        return [record.event.data.get("i") for record in self.records]


class UnluckyStore(SQLiteStore):
    """A real store that refuses by turns, before the commit or after it, and never takes what is ``bad`` or ``worse``.

    It refuses what is worse under any name, and what is bad with its data.
    """

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.refusals = ["before", "after"]

    def append_batch(self, records: Sequence[Record]) -> AppendResult:
        for record in records:
            if record.event.type == "worse" or (record.event.type == "bad" and "i" in record.event.data):
                raise ValueError("not this one")
        when = self.refusals.pop() if self.refusals else ""
        if when == "before":
            raise StoreUnavailableError("the disk is away")
        result = super().append_batch(records)
        if when == "after":
            raise StoreUnavailableError("it is written, and the answer is lost")
        return result


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def store() -> Iterator[UnluckyStore]:
    with UnluckyStore() as store:
        yield store


def test_what_is_told_is_what_the_store_has(hub: Hub, store: UnluckyStore) -> None:
    """Retries, a lost acknowledgement, halved batches and stand-ins: told once each, in order; what is given up, never.

    A record's event holds the data that is stored: completed, sanitised, redacted.
    """
    told = Listener()
    with Persister(hub, store, "s", redactor=SecretRedactor(), on_commit=told) as persister:
        for i in range(50):
            hub.emit({7: "bad", 23: "worse"}.get(i, "n"), i=i)
        hub.emit("odd", ratio=float("nan"), key=SECRET, plain="p")
        report = persister.flush()
        assert persister.settle(10)
    assert report.dropped == {"refused": 1}
    stored = list(store.read("s"))
    assert [(record.event.type, record.seq) for record in told.records] == [(event.type, event.seq) for event in stored]
    assert [record.event.data for record in told.records] == [event.data for event in stored]
    assert [decode_data(record.data_json or b"") for record in told.records] == [event.data for event in stored]
    assert told.numbers == [*range(7), None, *range(8, 23), *range(24, 50), None]
    assert told.records[-1].event.data["ratio"] == "NaN"
    assert SECRET not in str(told.records[-1].event.data)


def test_a_listener_that_raises_costs_nothing_else(
    hub: Hub, store: UnluckyStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is counted and logged; all events are stored, and the next records are told."""
    told = Listener()

    def listen(records: Sequence[Record]) -> None:
        if not told.records:
            told.records += records
            raise RuntimeError("not today")
        told(records)

    with caplog.at_level(logging.WARNING, "sonde"), Persister(hub, store, "s", on_commit=listen) as persister:
        hub.emit("n", i=1)
        assert persister.flush()
        assert persister.settle(10)
        hub.emit("n", i=2)
        assert persister.flush()
        assert persister.settle(10)
        assert persister.failures.counts["on_commit"] == 1
    assert "cannot tell of 1 committed events: RuntimeError('not today')" in caplog.text
    assert [event.data["i"] for event in store.read("s")] == [1, 2]
    assert told.numbers == [1, 2]


def test_all_is_told_before_a_persister_ends(hub: Hub, store: UnluckyStore) -> None:
    """What stop() wrote is told, although nobody waited for it before."""
    told = Listener()
    persister = Persister(hub, store, "s", on_commit=told)
    for i in range(5000):
        hub.emit("n", i=i)
    assert persister.stop()
    assert persister.settle(10)
    assert told.numbers == list(range(5000))


def test_what_waits_to_be_told_is_bounded() -> None:
    """A persister that is behind commits first, and tells once it holds a quarter of what may be pending."""
    told = Listener()
    told_before: list[int] = []
    is_full = threading.Event()

    class WatchedStore(SQLiteStore):
        def append_batch(self, records: Sequence[Record]) -> AppendResult:
            is_full.wait()
            told_before.append(len(told.records))
            return super().append_batch(records)

    with WatchedStore(":memory:") as store, Hub() as hub:
        persister = Persister(hub, store, "s", batch_size=10, max_pending_bytes=8_000_000, on_commit=told)
        for i in range(200):
            hub.emit("n", i=i, text="x" * 30_000)
            if i % 10 == 9:
                hub.flush()  # handed over ten at a time
        is_full.set()
        assert persister.stop()
        assert persister.settle(10)
    assert told.numbers == list(range(200))
    assert told_before[1] == 0
    assert told_before[-1] > 0
