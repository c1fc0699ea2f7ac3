"""What is SQLite's own: the file's settings, rollback, the view, retention's space, backup, verification."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import apsw
import pytest

from sonde.errors import StoreCorruptError, StoreError, StoreUnavailableError, WrongExpectedVersionError
from sonde.events import Event, RecordedEvent
from sonde.store import Record, SQLiteStore

SPAN = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7")


def raw(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Run SQL behind the store's back. With the same SQLite: two of them in one process undo each other's locks."""
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(statement))
    finally:
        connection.close()


def numbered(count: int, *, text: str = "") -> list[Event]:
    return [Event("test.done", n, "session", "plan", "task", {"n": n, "text": text}) for n in range(1, count + 1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def test_settings_of_the_file(path: Path) -> None:
    """WAL, incremental vacuum and our mark."""
    SQLiteStore(path).close()
    assert raw(path, "PRAGMA journal_mode") == [("wal",)]
    assert raw(path, "PRAGMA auto_vacuum") == [(2,)]
    assert raw(path, "PRAGMA application_id") == [(0x736F6E64,)]
    assert raw(path, "PRAGMA user_version") == [(3,)]


def test_bytes_of_an_event(path: Path) -> None:
    """The budget: half of the original's 244 bytes, 0.6 with ids."""
    count = 10_000
    data = [{"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n} for n in range(count)]
    for name, ids, limit in (("plain", ("", "", ""), 122), ("ids", SPAN, 157)):
        target = path.with_name(name)
        with SQLiteStore(target) as store:
            for start in range(0, count, 500):
                events = [Event("tool.completed", 10**18 + n, "s-1", "", "", data[n], *ids) for n in range(count)]
                store.append("s-1", events[start : start + 500])
        assert target.stat().st_size / count < limit


def test_a_refused_append_leaves_nothing_behind(path: Path) -> None:
    """Names interned in a transaction that was rolled back are not believed later."""
    with SQLiteStore(path) as store:
        store.append("a", [Event("first.type", 1)])
        bad = [
            Record("b", "w", 1, Event("lost.type", 1, "lost session")),
            Record("b", "w", 2, Event("x.y", 1), b"\xff"),
        ]
        with pytest.raises(UnicodeDecodeError):
            store.append_batch(bad)
        store.append("a", [Event("second.type", 1, "other")])
        store.append("c", [Event("lost.type", 1, "lost session")])
        assert [(e.stream_id, e.type, e.session_id) for e in store.read_all()] == [
            ("a", "first.type", ""),
            ("a", "second.type", "other"),
            ("c", "lost.type", "lost session"),
        ]
        assert store.append_batch([Record("b", "w", 1, Event("x.y", 1))]).duplicates == 0
        assert [info.stream_id for info in store.streams()] == ["a", "c", "b"]


def test_a_refused_version_leaves_no_stream(path: Path) -> None:
    """``WrongExpectedVersionError`` writes nothing at all."""
    with SQLiteStore(path) as store:
        with pytest.raises(WrongExpectedVersionError):
            store.append("s", numbered(1), expected_version=3)
        assert store.streams() == []
        assert store.append("s", numbered(1)).first_version == 1


def test_a_lock_that_is_not_given_up(path: Path) -> None:
    """Past ``busy_timeout_s`` the call fails, says so, and works again later."""
    with SQLiteStore(path, busy_timeout_s=0.1) as store:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match=r"cannot append to event store .* wait longer") as raised:
            store.append("s", numbered(1))
        assert "busy_timeout_s" not in str(raised.value)  # whoever typed a command can't set it
        assert store.head("s") == 0
        other.execute("ROLLBACK")
        other.close()
        assert store.append("s", numbered(1)).first_version == 1


def test_the_view_of_the_original(path: Path) -> None:
    """The original's columns, names and forms, for its users' queries."""
    with SQLiteStore(path) as store:
        store.append("s", [Event("a.b", 1_770_802_200_630_343_314, "s", "p", "t", {"k": 1}, *SPAN)])
        store.append("s", [Event("a.c", 1_770_802_200_000_000_000, "other"), Event("a.c", -1), Event("a.c", 0)])
    connection = sqlite3.connect(path)
    cursor = connection.execute("SELECT * FROM telemetry_events ORDER BY id")
    columns = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    connection.close()
    assert columns == [
        "id", "stream_id", "event_type", "version", "session_id", "plan_id", "task_id", "data", "timestamp",
    ]  # fmt: skip
    assert rows == [
        (1, "s", "a.b", 1, "s", "p", "t", '{"k":1}', "2026-02-11 09:30:00.630343314+00:00"),
        (2, "s", "a.c", 2, "other", "", "", "{}", "2026-02-11 09:30:00+00:00"),
        (3, "s", "a.c", 3, "", "", "", "{}", "1969-12-31 23:59:59.999999999+00:00"),
        (4, "s", "a.c", 4, "", "", "", "{}", "1970-01-01 00:00:00+00:00"),
    ]


def test_retention_gives_space_back(path: Path) -> None:
    """The file shrinks, though nothing else rewrites it."""
    with SQLiteStore(path) as store:
        store.append("s", numbered(12_000, text="x" * 200))
    before = path.stat().st_size
    with SQLiteStore(path) as store:
        assert store.truncate("s", 11_000) == 10_999
        assert [event.version for event in store.read("s", limit=2)] == [11_000, 11_001]
        assert list(store.verify()) == []
    assert path.stat().st_size < before / 5


def test_retention_lets_others_in(path: Path) -> None:
    """A long removal is many short transactions: an append from elsewhere gets its turn."""
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        store.append("s", numbered(20_000))
        remover = threading.Thread(target=store.truncate, args=("s", 20_001))
        remover.start()
        versions = [other.append("other", numbered(1)).first_version for _ in range(20)]
        remover.join(30)
        assert versions == list(range(1, 21))
        assert store.head("s") == 20_000


def test_backup_of_a_store_in_use(path: Path, tmp_path: Path) -> None:
    """One private file, complete, as the store was; the recorder goes on."""
    target = tmp_path / "backups" / "copy.db"
    calls: list[tuple[int, int]] = []
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        store.append("s", numbered(20_000))

        def progress(done: int, total: int) -> None:
            calls.append((done, total))
            other.append("s", numbered(1))

        store.backup(target, progress=progress)
        assert [file.name for file in target.parent.iterdir()] == ["copy.db"]
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert calls[-1][0] == calls[-1][1] > 0
        assert store.head("s") == 20_000 + len(calls)
        with SQLiteStore(target, mode="ro") as copy:
            assert [e.version for e in copy.read("s")] == list(range(1, 20_001))
            assert list(copy.verify()) == []


def test_backup_keeps_what_exists(path: Path, tmp_path: Path) -> None:
    """A target that exists is replaced only on demand."""
    target = tmp_path / "copy.db"
    with SQLiteStore(path) as store:
        store.append("s", numbered(1))
        target.write_text("mine")
        with pytest.raises(StoreError, match="it exists; pass another path, or overwrite=True"):
            store.backup(target)
        assert target.read_text() == "mine"
        store.backup(target, overwrite=True)
    with SQLiteStore(target) as copy:
        assert copy.head("s") == 1


def test_backup_of_memory(tmp_path: Path) -> None:
    """A store in memory can be saved."""
    with SQLiteStore(":memory:") as store:
        store.append("s", numbered(3))
        store.backup(tmp_path / "copy.db")
        store.append("s", numbered(3))
    with SQLiteStore(tmp_path / "copy.db") as copy:
        assert copy.head("s") == 3


def test_verify_finds_nothing_in_a_sound_store(path: Path) -> None:
    """Whatever was stored, odd ids, odd names, no data: it is what was written. Progress is told."""
    calls: list[tuple[int, int]] = []
    with SQLiteStore(path) as store:
        store.append(
            "s", [*numbered(1_500), Event("a.b", 2**90, "\ud800"), Event("a.b", 1, "", "", "", {}, "x", "y", "")]
        )
        store.append_batch([Record("t", "w", 2**62, Event("a.b", 1, "", "", "", {"a": float("inf")}, *SPAN))])
        store.truncate("s", 100)
        assert list(store.verify(progress=lambda done, total: calls.append((done, total)))) == []
    assert calls[-1] == (1_404, 1_404)


@pytest.mark.parametrize(
    ("statement", "kind", "version"),
    [
        ("UPDATE events SET data = replace(data, '7', '8') WHERE position = 7", "checksum", 7),
        ("UPDATE events SET time_ns = time_ns + 1 WHERE position = 7", "checksum", 7),
        ("UPDATE events SET time_ns = 1.5 WHERE position = 7", "checksum", 7),
        ("UPDATE events SET seq = 1.5 WHERE position = 7", "checksum", 7),
        ("UPDATE events SET origin = 0 WHERE position = 7", "checksum", 7),
        ("UPDATE events SET data = x'7b7d' WHERE position = 7", "content", 7),
        ("UPDATE events SET checksum = 'x' WHERE position = 7", "checksum", 7),
        ("UPDATE events SET data = '[' WHERE position = 7", "checksum", 7),
        ("UPDATE events SET ids = x'00' WHERE position = 7", "checksum", 7),
        ("UPDATE events SET stream = 99 WHERE position = 10", "checksum", 10),
        ("DELETE FROM events WHERE position = 7", "hole", 1),
        ("DELETE FROM events WHERE position = 1", "hole", 1),
    ],
)
def test_verify_finds_damage(path: Path, statement: str, kind: str, version: int) -> None:
    """An altered event and a missing version are named by stream, version and position."""
    with SQLiteStore(path) as store:
        store.append("s", numbered(10))
    raw(path, statement)
    with SQLiteStore(path, mode="ro") as store:
        (damage,) = store.verify()
    assert (damage.kind, damage.version) == (kind, version)
    assert damage.detail


@pytest.mark.parametrize("change", ["ids = 5", "data = x'7b7d'", "data = 1.5"])
def test_a_value_of_another_kind_is_damage(path: Path, change: str) -> None:
    """What a flip makes of a row's header is told as damage, by name, when it is read."""
    with SQLiteStore(path) as store:
        store.append("s", numbered(3))
    raw(path, f"UPDATE events SET {change} WHERE position = 2")
    with SQLiteStore(path, mode="ro") as store, pytest.raises(StoreCorruptError, match=r"event 2 of stream 's'"):
        list(store.read_all())


def test_large_sparse_positions_are_read(path: Path) -> None:
    """Where retention left a wide hole, reading steps over it."""
    with SQLiteStore(path) as store:
        store.append("a", numbered(1))
        store.append("b", numbered(30_000))
        store.append("a", numbered(1))
        store.truncate("b", 30_001)
        expected = [1, 2]
        assert [event.version for event in store.read_all()] == expected
        assert [event.version for event in store.read_all(types=["test.done"])] == expected


def test_reader_gives_recorded_events(path: Path) -> None:
    """Equal events compare equal, whichever way they were read."""
    with SQLiteStore(path) as store:
        store.append("s", numbered(3))
        by_stream = list(store.read("s"))
        assert all(type(event) is RecordedEvent for event in by_stream)
        assert by_stream == list(store.read_all()) == list(store.read_by_type("s", "test.done"))
