"""Who reads all events gets all of them, or an error."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from sonde.errors import StoreCorruptError, StoreError
from sonde.events import Event, Position
from sonde.store import Record, Retention, SQLiteStore
from sonde.store.connections import transaction
from sonde.store.retention import RETENTION_STREAM
from sonde.store.salvage import salvage
from sonde.store.sealing import seal_some

PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def fill(path: Path, *, count: int, streams: int = 1) -> None:
    with SQLiteStore(path) as store:
        store.append_batch([Record(f"s-{n % streams}", "w", n + 1, Event("e", data={"n": n})) for n in range(count)])


def change(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def seal(path: Path, *, rounds: int) -> None:
    connection = apsw.Connection(str(path))
    for _ in range(rounds):
        with transaction(connection):
            assert seal_some(connection)
    connection.close()


def read(path: Path) -> int:
    with SQLiteStore(path, mode="ro") as store:
        return sum(1 for _ in store.read_all())


def test_damaged_pages_leave_nothing_out(path: Path) -> None:
    """Rows that are written over make reading all fail, wherever they stand, and never leave out what follows."""
    fill(path, count=900)
    change(path)
    connection = apsw.Connection(str(path))
    leaves = connection.execute("SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf'").fetchall()
    pages = [page for (page,) in leaves]
    connection.close()
    whole = path.read_bytes()
    assert len(pages) > 3
    failed = 0
    for page in pages:
        for offset in range(200, PAGE_BYTES - 200, 523):
            damaged = bytearray(whole)
            start = (page - 1) * PAGE_BYTES + offset
            damaged[start : start + 200] = b"\xaa" * 200
            path.write_bytes(damaged)
            try:
                assert read(path) == 900
            except (StoreError, ValueError):
                failed += 1
    assert failed


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM stretches WHERE id = (SELECT min(id) FROM stretches)",
        "DELETE FROM stretches WHERE id = (SELECT id FROM stretches ORDER BY id LIMIT 1 OFFSET 2)",
        "DELETE FROM events WHERE version = 1500",
        "DELETE FROM events WHERE stream = 1 AND version < 1200",
    ],
)
def test_missing_rows_are_an_error(path: Path, damage: str) -> None:
    """A sealed stretch or a row that isn't there, though nothing removed it, makes reading all fail."""
    fill(path, count=6_000, streams=3)
    seal(path, rounds=1)
    assert read(path) == 6_000
    change(path, damage)
    with pytest.raises(StoreCorruptError, match="not found"):
        read(path)


def test_a_stream_that_is_gone_is_an_error(path: Path) -> None:
    """All events of a stream, or its last ones, cannot be missing either, though the versions of others go on."""
    fill(path, count=50)
    with SQLiteStore(path) as store:
        store.append("other", [Event("e")] * 2_000)
    seal(path, rounds=1)
    change(path, "DELETE FROM stretches WHERE stream = 2")
    with pytest.raises(StoreCorruptError, match="'other'"):
        read(path)


def test_what_retention_removes_meanwhile_is_no_hole(path: Path) -> None:
    """The beginnings of streams, and whole ones, may go while all is read, and others come."""
    fill(path, count=3_000, streams=3)
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        events = store.read_all()
        numbers = [next(events).data["n"] for _ in range(100)]
        other.truncate("s-0", 900)
        other.truncate("s-1", 1_001)
        other.append("new", [Event("e", data={"n": 3_000})])
        numbers += [event.data["n"] for event in events]
    assert numbers[-1] == 3_000
    assert set(range(2, 3_000, 3)) < set(numbers)
    assert read(path) == 1_000 + 101 + 1
    with SQLiteStore(path) as store:
        assert sum(1 for _ in store.read_all(Position(2_990))) == 8


def test_a_repaired_store_reads_with_its_holes(path: Path, tmp_path: Path) -> None:
    """Versions that a repair could not save, and that a gap tells of, don't hinder reading all."""
    fill(path, count=300, streams=2)
    change(path, "DELETE FROM events WHERE version BETWEEN 20 AND 30")
    with pytest.raises(StoreCorruptError):
        read(path)
    target = tmp_path / "repaired.db"
    assert salvage(path, target).kept == 278
    assert read(target) >= 278


def damaged_in_the_middle(path: Path) -> None:
    """Two sessions of 3,000 events; what stands in the middle of the second is written over."""
    with SQLiteStore(path) as store:
        for stream in ("a", "b"):
            store.append(stream, [Event("e", 1, stream, data={"text": f"{n} " + "x" * 200}) for n in range(3_000)])
    change(path)
    connection = apsw.Connection(str(path))
    leaves = connection.execute("SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path")
    pages = [page for (page,) in leaves]
    connection.close()
    with path.open("r+b") as file:
        file.seek((pages[len(pages) * 3 // 4] - 1) * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))


def test_a_damaged_session_is_not_half_pruned(path: Path) -> None:
    """Damage in any of the sessions that are to go as a whole is found before the first event of the first goes."""
    damaged_in_the_middle(path)
    with SQLiteStore(path) as store:
        with pytest.raises(StoreCorruptError, match=r"nothing was removed; before pruning.*doctor --repair$"):
            store.prune(Retention(), sessions=["a", "b"])
        assert store.removed() == (0, 0)


def test_what_went_before_the_damage_is_said(path: Path) -> None:
    """For the size no session is looked through first: the error names what had gone, and it is on record."""
    damaged_in_the_middle(path)
    with SQLiteStore(path) as store:
        with pytest.raises(StoreCorruptError, match=r"removed before that: 3,000 events of 'a'"):
            store.prune(Retention(max_bytes=100_000))
        (note,) = store.read(RETENTION_STREAM)
        assert note.data["events"] == store.removed()[0] >= 3_000
