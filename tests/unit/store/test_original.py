"""Files that the Go original wrote: read whole, in whatever form, and never touched."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from pathlib import Path

import apsw
import pytest

from sonde.errors import StoreCorruptError, StoreError
from sonde.events import Event, Position
from sonde.store import Liveness, Retention
from sonde.store import open as open_store

SAMPLES = Path(__file__).parents[3] / ".." / "shared" / "data" / "go-original"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the original's own files are not beside the project")

SCHEMA = """CREATE TABLE telemetry_events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id  TEXT NOT NULL,
    event_type TEXT NOT NULL,
    version    INTEGER NOT NULL,
    session_id TEXT NOT NULL DEFAULT '',
    plan_id    TEXT NOT NULL DEFAULT '',
    task_id    TEXT NOT NULL DEFAULT '',
    data       TEXT NOT NULL DEFAULT '{}',
    timestamp  TIMESTAMP NOT NULL,
    UNIQUE(stream_id, version)
);
CREATE INDEX idx_telemetry_stream ON telemetry_events(stream_id, version);
CREATE INDEX idx_telemetry_type ON telemetry_events(stream_id, event_type);
CREATE INDEX idx_telemetry_time ON telemetry_events(timestamp);"""
INSERT = """INSERT INTO telemetry_events (stream_id, event_type, version, session_id, plan_id, task_id, data, timestamp)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
T0 = 1_770_802_200_630_343_314
TIMES = (
    "2026-02-11 09:30:00.630343314 +0000 UTC m=+0.000000000",
    "2026-02-11 09:30:00.630343314+00:00",
    "2026-02-11 09:30:00.630343314 +0000 UTC",
    "2026-02-11T09:30:00.630343314Z",
    "2026-02-11T10:30:00.630343314+01:00",
)


def made(path: Path, *, journal: str = "delete") -> apsw.Connection:
    """A file as the original makes it: two streams, each form of time, null data."""
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    rows = [
        ("s-a", "tool.started", number, "s-a", "p", "t", f'{{"n":{number},"text":"\\u003c"}}', time)
        for number, time in enumerate(TIMES, 1)
    ]
    rows.insert(1, ("s-b", "plan.created", 1, "", "", "", "null", TIMES[0]))
    rows.append(("s-b", "plan.updated", 2, "", "", "", "{}", "0001-01-01 00:00:00 +0000 UTC"))
    connection.executemany(INSERT, rows)
    return connection


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_events_of_the_original(tmp_path: Path) -> None:
    """All fields, each form of time, null data; the position is the row's id, the identity empty."""
    made(tmp_path / "t.db").close()
    with open_store(tmp_path / "t.db") as store:
        events = list(store.read("s-a"))
        assert [event.time_ns for event in events] == [T0] * len(TIMES)
        assert events[1].data == {"n": 2, "text": "<"}
        assert (events[0].session_id, events[0].plan_id, events[0].task_id) == ("s-a", "p", "t")
        assert (events[0].writer_id, events[0].seq, events[0].position) == ("", 0, Position(1))
        first, second = store.read("s-b")
        assert (first.data, second.time_ns) == ({}, 0)


def test_reading_calls_of_the_original(tmp_path: Path) -> None:
    """Every reading call of a store works."""
    made(tmp_path / "t.db").close()
    with open_store(tmp_path / "t.db") as store:
        everything = list(store.read_all())
        assert [event.position.value for event in everything] == list(range(1, 8))
        assert list(store.read_all(Position(5))) == everything[5:]
        assert [e.type for e in store.read_all(types=["plan.created"])] == ["plan.created"]
        assert [e.version for e in store.read("s-a", 3, limit=2)] == [3, 4]
        assert [e.version for e in store.read_by_type("s-b", "plan.updated")] == [2]
        assert [e.version for e in store.follow(Position.START, stream_id="s-b", timeout_s=0)] == [1, 2]
        assert (store.head("s-a"), store.head("nope")) == (5, 0)
        assert [(s.stream_id, s.first_version, s.last_version) for s in store.streams()] == [
            ("s-a", 1, 5),
            ("s-b", 1, 2),
        ]
        assert store.streams()[0].last_time_ns == T0
        health = store.health()
        assert (health.ok, health.events) == (True, 7)
        assert "original" in health.detail
        assert store.liveness("w") is Liveness.UNKNOWN


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_the_original_is_left_as_it_was(tmp_path: Path, journal: str) -> None:
    """Byte for byte, with nothing beside it, whatever its journal."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    made(folder / "t.db", journal=journal).close()
    before = snapshot(folder)
    with open_store(folder / "t.db") as store:
        assert len(list(store.read_all())) == 7
        assert snapshot(folder) == before
        with pytest.raises(StoreError, match="opened for reading only; sonde import copies it"):
            store.append("s-a", [Event("a.b", 1)])
        with pytest.raises(StoreError, match="sonde import copies it"):
            store.truncate("s-a", 2)
        for prune in (store.prune, store.preview_prune):
            with pytest.raises(StoreError, match=r"cannot prune event store .* sonde import copies it"):
                prune(Retention(max_sessions=1))
    assert snapshot(folder) == before


def test_the_original_while_it_records(tmp_path: Path) -> None:
    """What lies in its log is read too, while its own program has it open."""
    live = made(tmp_path / "t.db")
    live.execute("PRAGMA journal_mode = wal")
    live.execute(INSERT, ("s-c", "a.b", 1, "", "", "", "{}", TIMES[0]))
    before = (tmp_path / "t.db").read_bytes()
    with open_store(tmp_path / "t.db") as store:
        assert store.head("s-c") == 1
    assert (tmp_path / "t.db").read_bytes() == before
    live.close()


def test_the_original_after_a_crash(tmp_path: Path) -> None:
    """A log that was left behind is read from a private copy, and stays."""
    live = made(tmp_path / "t.db")
    live.execute("PRAGMA journal_mode = wal")
    live.execute(INSERT, ("s-c", "a.b", 1, "", "", "", "{}", TIMES[0]))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        (crashed / f"t.db{suffix}").write_bytes((tmp_path / f"t.db{suffix}").read_bytes())
    live.close()
    before = snapshot(crashed)
    with open_store(crashed / "t.db") as store:
        assert store.head("s-c") == 1
    assert snapshot(crashed) == before


def test_data_that_is_no_object(tmp_path: Path) -> None:
    """A broken row is named."""
    connection = made(tmp_path / "t.db")
    connection.execute("UPDATE telemetry_events SET data = '[1]' WHERE id = 3")
    connection.close()
    with open_store(tmp_path / "t.db") as store, pytest.raises(StoreCorruptError, match="cannot read event 3 in"):
        list(store.read_all())


def test_a_table_of_that_name_with_other_columns(tmp_path: Path) -> None:
    """It is another program's."""
    connection = apsw.Connection(str(tmp_path / "t.db"))
    connection.execute("CREATE TABLE telemetry_events (id, stream_id)")
    connection.close()
    with pytest.raises(StoreError, match="another program"):
        open_store(tmp_path / "t.db")


@needs_samples
@pytest.mark.parametrize("name", ["telemetry.db", "telemetry-times.db"])
def test_the_originals_own_files(name: str) -> None:
    """What the Go program itself wrote: every event, in order, with its time; the files stay as they are."""
    before = (SAMPLES / name).read_bytes()
    raw = sqlite3.connect(f"file:{SAMPLES / name}?immutable=1", uri=True)
    counts = Counter(stream for (stream,) in raw.execute("SELECT stream_id FROM telemetry_events"))
    raw.close()
    with open_store(SAMPLES / name) as store:
        for stream_id, count in counts.items():
            events = list(store.read(stream_id))
            assert [event.version for event in events] == list(range(1, count + 1))
            assert all(event.time_ns > 1_770_000_000_000_000_000 for event in events)
        assert sum(1 for _ in store.read_all()) == counts.total()
    assert (SAMPLES / name).read_bytes() == before
    assert not [path for path in os.listdir(SAMPLES) if path.endswith(("-wal", "-shm"))]


@needs_samples
def test_both_of_the_originals_files_tell_the_same() -> None:
    """One has a single form of time, the other all of them: the moments are equal."""
    with open_store(SAMPLES / "telemetry.db") as one, open_store(SAMPLES / "telemetry-times.db") as other:
        assert list(one.read_all()) == list(other.read_all())
