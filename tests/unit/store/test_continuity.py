"""Who reads events, of all streams or of one, of all types or of some, gets all of them, or an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import apsw
import pytest

from sonde.errors import StoreCorruptError, StoreError
from sonde.events import Event, Position, RecordedEvent
from sonde.store import Record, Retention, SQLiteStore
from sonde.store.connections import transaction
from sonde.store.retention import RETENTION_STREAM
from sonde.store.salvage import salvage
from sonde.store.sealing import ROWS, seal_some

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


def seal(path: Path, *, rounds: int, least: int = ROWS) -> None:
    connection = apsw.Connection(str(path))
    for _ in range(rounds):
        with transaction(connection):
            assert seal_some(connection, least=least)
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


MISSING = [
    "DELETE FROM stretches WHERE id = (SELECT min(id) FROM stretches)",
    "DELETE FROM stretches WHERE id = (SELECT id FROM stretches ORDER BY id LIMIT 1 OFFSET 2)",
    "DELETE FROM events WHERE stream = 1 AND version BETWEEN 1500 AND 1501",
    "DELETE FROM events WHERE stream = 1 AND version < 1200",
]
"""Of streams of 2,000 events, of which the first 1,024 or so are sealed; each damages at most one of them."""


def each_types(store: SQLiteStore, types: list[str] | None) -> list[Callable[[], Iterator[RecordedEvent]]]:
    return [
        lambda: store.read_all(types=types),
        lambda: store.read_all(Position(1), types=types),
        lambda: store.follow(Position.START, types=types, timeout_s=0),
    ]


@pytest.mark.parametrize("types", [["e"], ["never"], ["e", "never"], None])
@pytest.mark.parametrize("damage", MISSING)
def test_missing_rows_are_an_error_of_some_types_too(path: Path, damage: str, types: list[str] | None) -> None:
    """Reading all events of some types, or following them, fails as well, whatever the types of the missing ones."""
    fill(path, count=6_000, streams=3)
    seal(path, rounds=1)
    with SQLiteStore(path, mode="ro") as store:
        for reading in each_types(store, types):
            assert sum(1 for _ in reading()) in (0, 5_999, 6_000)
    change(path, damage)
    with SQLiteStore(path, mode="ro") as store:
        for reading in each_types(store, types):
            with pytest.raises(StoreCorruptError, match=r"events \d+ to \d+ of stream 's-\d' .* not found"):
                list(reading())


@pytest.mark.parametrize("damage", MISSING)
@pytest.mark.parametrize("event_type", [None, "e", "sonde.gap"])
def test_a_stream_with_missing_rows_is_an_error(path: Path, damage: str, event_type: str | None) -> None:
    """Reading the stream that lacks them fails and names them; the others read to their ends."""
    fill(path, count=6_000, streams=3)
    with SQLiteStore(path) as store:
        store.append("other", [Event("sonde.gap")])  # so that the type has a name
    seal(path, rounds=1)
    change(path, damage)
    failed = []
    with SQLiteStore(path, mode="ro") as store:
        for stream in ("s-0", "s-1", "s-2"):
            try:
                events = list(store.read_by_type(stream, event_type) if event_type else store.read(stream))
                assert len(events) == (0 if event_type == "sonde.gap" else 2_000)
            except StoreCorruptError as error:
                failed += re.findall(r"events \d+ to \d+ of stream '(.*)' .* not found", str(error))
    assert failed == (["s-0"] if "stretches" not in damage or "min" in damage else ["s-2"])


def test_which_versions_are_missing_is_said(path: Path) -> None:
    """The first of them that follow each other, and no others."""
    fill(path, count=3_000)
    change(path, "DELETE FROM events WHERE version IN (700, 701, 702, 2900)")
    with SQLiteStore(path, mode="ro") as store:
        for events in (
            store.read("s-0"),
            store.read("s-0", 600),
            store.read("s-0", 701, limit=2),
            store.read_by_type("s-0", "e"),
            store.read_all(types="e"),
        ):
            with pytest.raises(StoreCorruptError, match=r"events 70[01] to 702 of stream 's-0'"):
                list(events)
        assert sum(1 for _ in store.read("s-0", 703, limit=1_000)) == 1_000
        with pytest.raises(StoreCorruptError, match="events 2900 to 2900"):
            list(store.read("s-0", 703))


def test_some_types_where_retention_made_holes(path: Path) -> None:
    """Positions that retention emptied make nothing missing, and don't hide what is."""
    fill(path, count=30_000, streams=3)
    with SQLiteStore(path) as store:
        store.truncate("s-1", 7_001)
        for reading in each_types(store, ["e"]):
            assert sum(1 for _ in reading()) in (22_999, 23_000)
    change(path, "DELETE FROM events WHERE stream = 3 AND version = 9999")
    with SQLiteStore(path) as store:
        for reading in each_types(store, ["never"]):
            with pytest.raises(StoreCorruptError, match="events 9999 to 9999 of stream 's-2'"):
                list(reading())


def test_the_last_rows_of_a_stream_cannot_be_left_out(path: Path) -> None:
    """What the index says is there, though the table lacks it, is found to be missing at the end of a reading."""
    fill(path, count=20_000, streams=2)
    connection = apsw.Connection(str(path))
    # The table's rows go, and the index keeps its entries: as if a page of the table had lost some.
    (index,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'events'").fetchone()
    table = index.replace(", UNIQUE (stream, version)", "")
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.execute("PRAGMA writable_schema = ON")
    rows = connection.execute("SELECT * FROM sqlite_schema WHERE name = 'sqlite_autoindex_events_1'").fetchone()
    connection.execute("DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_events_1'")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'events'", (table,))
    connection.close()
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM events WHERE stream = 2 AND version > 9000")
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'events'", (index,))
    connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with SQLiteStore(path, mode="ro") as store:
        for types in (["e"], ["never"], None):
            with pytest.raises(StoreCorruptError, match="events 9001 to 10000 of stream 's-1'"):
                list(store.read_all(types=types))


def test_what_comes_while_it_is_followed_is_no_hole(path: Path) -> None:
    """A follower of some types goes on over events of others, what retention removes, and new streams."""
    fill(path, count=3_000, streams=3)
    with SQLiteStore(path) as store, SQLiteStore(path) as other:
        events = store.follow(Position.START, types=["e"], timeout_s=30)
        assert sum(1 for _ in islice(events, 3_000)) == 3_000
        other.append("s-0", [Event("else")] * 700)
        other.truncate("s-0", 1_500)
        other.append("new", [Event("else"), Event("e")])
        assert next(events).stream_id == "new"
        other.append("s-0", [Event("e")])
        assert next(events).version == 1_701


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
    for rounds in (0, 1):
        seal(target, rounds=rounds, least=1)
        with SQLiteStore(target) as store:
            for reading in each_types(store, ["e"]):
                assert sum(1 for _ in reading()) in (277, 278)
            for stream in ("s-0", "s-1"):
                assert sum(event.type == "e" for event in store.read(stream)) == 139
                assert sum(1 for _ in store.read_by_type(stream, "e")) == 139


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


def test_the_size_is_not_made_by_half_either(path: Path) -> None:
    """Damage in what has to go for the size is found before the first event goes."""
    damaged_in_the_middle(path)
    with SQLiteStore(path) as store:
        with pytest.raises(StoreCorruptError, match=r"nothing was removed; before pruning.*doctor --repair$"):
            store.prune(Retention(max_bytes=100_000))
        assert store.removed() == (0, 0)


def test_what_went_before_the_damage_is_said(path: Path) -> None:
    """How many events go for a size is guessed: where more have to, the error names what had gone, on record too.

    The session that is damaged behind the guess loses nothing.
    """
    with SQLiteStore(path) as store:
        store.append("small", [Event("e", 1, "small") for _ in range(9_000)])
    damaged_in_the_middle(path)
    with SQLiteStore(path) as store:
        used = store.preview_prune(Retention()).bytes_before
        with pytest.raises(
            StoreCorruptError, match=r"removed before that: 9,000 events of 'small', 3,000 events of 'a';"
        ):
            store.prune(Retention(max_bytes=used * 55 // 100))
        (note,) = store.read(RETENTION_STREAM)
        assert note.data["events"] == store.removed()[0] == 12_000
        assert [info.first_version for info in store.streams() if info.stream_id == "b"] == [1]


def test_last_events_that_are_gone_without_a_trace_are_counted(path: Path) -> None:
    """Gone from table and index alike: readers cannot tell, but the numbers that the store has seen of writers can."""
    fill(path, count=900, streams=3)
    with SQLiteStore(path) as store:
        store.truncate("s-0", 100)
        store.prune(Retention(), sessions=["s-1"])
        assert list(store.verify()) == []
    change(path, "DELETE FROM events WHERE version > 290 AND stream = (SELECT id FROM streams WHERE name = 's-2')")
    assert read(path) == 201 + 290 + 1
    with SQLiteStore(path, mode="ro") as store:
        (damage,) = store.verify()
    assert (damage.kind, damage.stream_id, damage.version) == ("hole", "", 0)
    assert damage.detail.startswith("10 events at the ends of streams are not there")


def test_last_stretch_that_is_gone_without_a_trace_is_counted(path: Path) -> None:
    """Sealed events count as the others do, and what is told of by a version that is missing is not told of twice."""
    fill(path, count=3 * ROWS)
    seal(path, rounds=2)
    with SQLiteStore(path, mode="ro") as store:
        assert list(store.verify()) == []
        (info,) = store.streams()
    change(
        path, f"DELETE FROM events WHERE version > {info.last_version - 7}", "DELETE FROM events WHERE version = 2500"
    )
    with SQLiteStore(path, mode="ro") as store:
        found = {damage.stream_id: damage.detail for damage in store.verify()}
    assert set(found) == {"", "s-0"}
    assert found[""].startswith("7 events at the ends")
