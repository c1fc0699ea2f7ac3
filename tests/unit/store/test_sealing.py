"""Events that are sealed read as before, go as before, and take a fraction of the space."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import sonde
from sonde.errors import StoreCorruptError
from sonde.events import Event, Position
from sonde.store import Record, SQLiteStore
from sonde.store.sealing import ROWS, seal_some
from sonde.store.shelving import last_shelf, shelve_some

SPANS = ("ab" * 16, "cd" * 8, "ef" * 8)
PATIENCE_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as made:
        yield made


def look(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(statement))
    finally:
        connection.close()


def seal(path: Path) -> int:
    """Seal all rows and shelve all blocks, as another process would; says how many rows."""
    connection = apsw.Connection(str(path))
    count = 0
    try:
        with connection:
            while sealed := seal_some(connection, least=1):
                count += sealed
        with connection:
            after = last_shelf(connection)
            while (until := shelve_some(connection, after, least=1)) > after:
                after = until
    finally:
        connection.close()
    return count


def event(number: int, *, size: int = 0) -> Event:
    ids = SPANS if number % 3 else (SPANS[0], "", SPANS[2]) if number % 2 else ("odd", "", "")
    return Event(f"a.{number % 5}", 10**18 + number, f"s-{number % 2}", "p", "", {"n": number, "x": "y" * size}, *ids)


def fill(store: SQLiteStore, count: int, *, streams: int = 3, start: int = 0, size: int = 0) -> None:
    numbers = range(start, start + count)
    store.append_batch([Record(f"s{n % streams}", "w", n + 1, event(n, size=size)) for n in numbers])


def all_there_is(store: SQLiteStore) -> list[Any]:
    """Whatever a reader can ask for."""
    everything = list(store.read_all())
    return [
        everything,
        store.streams(),
        store.health().events,
        [store.head(f"s{n}") for n in range(4)],
        [list(store.read(f"s{n}")) for n in range(4)],
        [list(store.read("s1", version)) for version in (-1, 0, 2, 39, 40, 41, 10**12)],
        [list(store.read("s1", version, limit=limit)) for version in (1, 30) for limit in (0, 1, 7, 60)],
        [list(store.read_by_type(f"s{n}", kind)) for n in range(3) for kind in ("a.1", "a.2", "none")],
        [list(store.read_all(at.position, limit=9)) for at in everything[::11]],
        [list(store.read_all(at.position, types=["a.1", "none"])) for at in everything[::17]],
        [list(store.follow(at.position, stream_id="s2", timeout_s=0)) for at in everything[::29]],
        list(store.verify()),
    ]


def test_reads_as_before(path: Path, store: SQLiteStore) -> None:
    """By stream, position and type, from anywhere; in one sealing, in two, and with rows that are not sealed behind."""
    fill(store, 70)
    before = all_there_is(store)
    assert before[-1] == []
    assert seal(path) == 70
    assert all_there_is(store) == before
    fill(store, 50, start=70)
    before = all_there_is(store)
    assert seal(path) == 50
    fill(store, 1, start=120)
    fill(store, 40, start=121, streams=1)
    with SQLiteStore(path) as other:  # whose caches are empty
        before = all_there_is(other)
    assert all_there_is(store) == before
    seal(path)
    assert all_there_is(store) == before
    assert look(path, "SELECT count(*) FROM events") == [(0,)]


def test_it_goes_on_behind(path: Path, store: SQLiteStore) -> None:
    """Versions and positions follow what is sealed, and what the store has had it does not take again."""
    fill(store, 30)
    last = list(store.read_all())[-1].position
    seal(path)
    with SQLiteStore(path) as other:
        result = other.append("s0", [event(0)], expected_version=10)
        assert result.position > last
        assert (result.first_version, other.head("s0")) == (11, 11)
        assert other.append_batch([Record("s0", "w", 5, event(4))]).duplicates == 1
        assert [found.version for found in other.read("s0")] == list(range(1, 12))


def test_followers_see_each_once(path: Path, store: SQLiteStore) -> None:
    """Though what they follow is sealed under their hands."""
    seen = []
    fill(store, 10)
    for found in store.follow(Position.START, timeout_s=PATIENCE_S):
        seen.append(found.data["n"])
        if len(seen) % 10 == 0:
            if len(seen) == 40:
                break
            fill(store, 10, start=len(seen))
            seal(path)
            fill(store, 1, start=1_000 + len(seen))
            store.truncate("s1", 2)
        if found.data["n"] >= 1_000:
            seen.pop()
    assert seen == list(range(40))


@pytest.mark.parametrize("before", [1, 2, 11, 20, 21, 25, 30, 31, 99])
def test_a_prefix_goes(path: Path, store: SQLiteStore, before: int) -> None:
    """Whole stretches, a stretch's beginning, all, and rows that are not sealed; the rest reads as before."""
    for start in (0, 60):
        fill(store, 60, start=start, size=700)
        if not start:
            seal(path)
    expected = [found for found in store.read("s0") if found.version >= before]
    others = [list(store.read(f"s{n}")) for n in (1, 2)]
    with SQLiteStore(path) as reader:
        assert len(list(reader.read("s0"))) == 40  # it remembers the stretch as it was
        assert store.truncate("s0", before) == min(before - 1, 40)
        for one in (store, reader):
            assert list(one.read("s0")) == expected
            assert list(one.read_all())[:1] != []
            assert [list(one.read(f"s{n}")) for n in (1, 2)] == others
            assert one.head("s0") == 40
            assert list(one.verify()) == []
    assert store.append("s0", [event(0)]).first_version == 41
    seal(path)
    assert list(store.verify()) == []
    for name in ("s0", "s1", "s2"):
        store.truncate(name, 99)
    assert look(path, "SELECT count(*) FROM stretches UNION ALL SELECT count(*) FROM blocks") == [(0,), (0,)]
    assert store.append("s1", [event(0)]).first_version == 41


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stretches SET bytes = substr(bytes, 1, length(bytes) / 2) WHERE stream = 2",
        "UPDATE stretches SET bytes = substr(bytes, 1, 60) || x'00' || substr(bytes, 62) WHERE stream = 2",
        "UPDATE stretches SET bytes = x'93' WHERE stream = 2",
        "UPDATE stretches SET bytes = 'text' WHERE stream = 2",
    ],
)
def test_damage_is_found(path: Path, store: SQLiteStore, statement: str) -> None:
    """It is named by stream and versions, when reading and by verify; the other streams are read, and it can go."""
    fill(store, 60)
    seal(path)
    look(path, statement)
    with pytest.raises(StoreCorruptError, match="events 1 to 20 of stream 's1'"):
        list(store.read("s1"))
    with pytest.raises(StoreCorruptError, match="sonde doctor"):
        list(store.read_all())
    assert len(list(store.read("s0"))) == 20
    (damage,) = store.verify()
    assert (damage.kind, damage.stream_id, damage.version) == ("content", "s1", 1)
    assert store.truncate("s1", 99) == 20
    assert list(store.verify()) == []


def test_a_flipped_checksum_is_found(path: Path, store: SQLiteStore) -> None:
    """What is not compressed is covered by the events' own checksums."""
    fill(store, 60)
    seal(path)
    for found in look(path, "SELECT id, bytes FROM stretches"):
        content = bytearray(found[1])
        content[-100] ^= 1
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE stretches SET bytes = ? WHERE id = ?", (bytes(content), found[0]))
        connection.close()
    assert {damage.kind for damage in store.verify()} == {"checksum"}


def test_large_data_on_shelves(path: Path, store: SQLiteStore) -> None:
    """Blocks are read, shared by later events, and collected one by one, wherever they lie."""
    for number in range(12):
        store.append(f"s{number % 3}", [Event("a.b", number, data={"text": f"{number:04}" * 400})])
    before = list(store.read_all())
    seal(path)
    shelves = look(path, "SELECT count(*) FROM blocks WHERE substr(bytes, 1, 3) = x'425a68'")
    assert shelves == [(1,)] == look(path, "SELECT count(*) FROM blocks")
    with SQLiteStore(path) as other:
        assert list(other.read_all()) == before
        other.append("s1", [before[0]])
        ((pieces,),) = look(path, "SELECT count(*) FROM pieces")
        assert pieces == 12  # it was there
        store.truncate("s0", 9)
        assert list(store.verify()) == []
        assert look(path, "SELECT count(*) FROM pieces") == [(pieces - 3,)]  # one is named by s1, too
        assert [found.data for found in other.read("s1")][-1] == before[0].data
    for name in ("s1", "s2"):
        store.truncate(name, 9)
    assert look(path, "SELECT count(*) FROM blocks") == [(0,)]


def test_a_damaged_shelf_is_found(path: Path, store: SQLiteStore) -> None:
    """It is reported, and so is each event that needs it; all others can be read; it goes with its events."""
    for number in range(3):
        store.append("s", [Event("a.b", number, data={"text": f"{number:04}" * 400})])
    seal(path)
    store.append("s", [Event("a.b", 9, data={"text": "other" * 400})])
    look(path, "UPDATE blocks SET bytes = substr(bytes, 1, length(bytes) - 9) WHERE id = 3")
    with SQLiteStore(path) as other:
        assert [next(iter(other.read("s", 4))).data["text"][:5]] == ["other"]
        with pytest.raises(StoreCorruptError, match="content block 1 cannot be read"):
            list(other.read("s"))
        assert sorted(damage.version for damage in other.verify()) == [0, 1, 2, 3]
        other.truncate("s", 5)
    assert look(path, "SELECT count(*) FROM blocks") == [(0,)]


def test_bytes_of_a_sealed_event(path: Path, store: SQLiteStore) -> None:
    """A third of what its row takes, ids included; and the space is given back."""
    count = 5 * ROWS
    store.append(
        "s-1",
        [
            Event("tool.completed", 10**18 + n, "s-1", "", "", {"tool": "read_file", "i": n}, *SPANS)
            for n in range(count)
        ],
    )
    store.close()
    before = path.stat().st_size
    with SQLiteStore(path) as again:
        steps = 0
        while again.tend(is_ending=True):
            steps += 1
            assert steps < 100
    assert look(path, "SELECT count(*) FROM events") == [(0,)]
    assert path.stat().st_size - 80_000 < before / 3  # what an empty file takes


def test_little_is_left_alone(path: Path, store: SQLiteStore) -> None:
    """Few events stay as rows, for SQL; a store that is only read is not written to, nor is one in memory."""
    fill(store, 100, size=10)
    assert not store.tend()
    assert not store.tend(is_ending=True)
    assert look(path, "SELECT count(*) FROM events") == [(100,)]
    fill(store, 2_000, start=100)
    with SQLiteStore(path, mode="ro") as reader, SQLiteStore(":memory:") as memory:
        assert not reader.tend(is_ending=True)
        fill(memory, 2_000)
        assert not memory.tend(is_ending=True)


def test_a_recorder_tends_its_store(path: Path) -> None:
    """In moments without events, without being asked; and the rest at the end."""
    with sonde.record(path, session_id="s") as rec:
        for number in range(3 * ROWS):
            rec.emit("a.b", n=number)
        assert rec.flush(timeout_s=PATIENCE_S)
        until_s = time.monotonic() + PATIENCE_S
        while look(path, "SELECT count(*) FROM events")[0][0] >= ROWS and time.monotonic() < until_s:
            time.sleep(0.01)
        assert look(path, "SELECT count(*) FROM events")[0][0] < ROWS
        for number in range(3 * ROWS, 3 * ROWS + 300):
            rec.emit("a.b", n=number)
    with SQLiteStore(path) as store:
        assert [found.data["n"] for found in store.read_by_type("s", "a.b")] == list(range(3 * ROWS + 300))
        assert list(store.verify()) == []


def test_a_plain_copy_is_all_rows(path: Path, store: SQLiteStore) -> None:
    """Every event in SQL, whole, and the copy is a store like any other."""
    fill(store, 90)
    fill(store, 30, start=90, size=3_000)
    seal(path)
    fill(store, 10, start=120, size=3_000)
    target = path.with_name("plain.db")
    done = []
    store.backup(target, is_plain=True, progress=lambda some, of: done.append((some, of)))
    assert done[-1] == (130, 130)
    shown = look(target, "SELECT id, json_extract(data, '$.n'), length(data) > 3000 FROM telemetry_events ORDER BY id")
    assert shown == [(n + 1, n, int(n >= 90)) for n in range(130)]
    with SQLiteStore(target) as copy:
        assert list(copy.read_all()) == list(store.read_all())
        assert list(copy.verify()) == []
        copy.append("s0", [event(1, size=3_000)])
        seal(target)
        assert list(copy.verify()) == []
    assert look(target, "PRAGMA auto_vacuum") == [(2,)]


def test_sql_is_told_what_is_sealed(path: Path, store: SQLiteStore) -> None:
    """The view for other tools leaves nothing out unsaid: a stretch is one row, with its versions and the remedy."""
    fill(store, 90)
    seal(path)
    fill(store, 10, start=90)
    shown = look(path, "SELECT event_type, stream_id, version, data, timestamp FROM telemetry_events ORDER BY id")
    told = [json.loads(data) for kind, _, _, data, _ in shown if kind == "sonde.sealed"]
    assert sum(one["last_version"] - one["first_version"] + 1 for one in told) == 90
    assert all("sonde backup --plain" in one["remedy"] for one in told)
    assert len(shown) - len(told) == 10
    assert {stream for _, stream, *_ in shown} == {info.stream_id for info in store.streams()}


def test_a_plain_copy_of_a_damaged_store(path: Path, store: SQLiteStore) -> None:
    """What can be read is plain; what cannot is as damaged as it was."""
    fill(store, 30, size=3_000)
    seal(path)
    look(path, "UPDATE stretches SET bytes = x'93' WHERE stream = 2")
    store.backup(path.with_name("plain.db"), is_plain=True)
    with SQLiteStore(path.with_name("plain.db")) as copy:
        assert len(list(copy.read("s0"))) == 10
        assert "events 1 to 10" in "".join(damage.detail for damage in copy.verify())
