"""Large data is stored once, collected when nothing names it, and found when it is damaged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from sonde.errors import StoreCorruptError, StoreUnavailableError
from sonde.events import Event
from sonde.store import Record, SQLiteStore
from sonde.store.block import ROOT, TEXT, Entry, pack, parts_of, place_of, unpack
from sonde.store.expansion import ContentReader
from sonde.store.recent import Recent
from sonde.store.shelving import ContentDamageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as made:
        yield made


def text(number: int, size: int = 1_000) -> str:
    return random.Random(number).randbytes(size // 2).hex()


def conversation(turns: int, *, start: int = 0) -> list[dict[str, str]]:
    return [{"role": "user" if turn % 2 else "tool", "content": text(start + turn)} for turn in range(turns)]


def look(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(statement))
    finally:
        connection.close()


def prompt(turns: int) -> Event:
    return Event("model.started", turns, data={"model": "m", "messages": conversation(turns)})


def test_a_context_that_is_resent_is_stored_once(path: Path) -> None:
    """100 prompts, each the one before and a message more, take little more than the last one, compressed."""
    with SQLiteStore(path) as store:
        for turns in range(1, 101):
            store.append("s", [prompt(turns)])
        assert [event.data for event in store.read("s")] == [prompt(turns).data for turns in range(1, 101)]
    assert path.stat().st_size < 250_000  # 100 kB of hexadecimal digits, half of that compressed; 5 MB as they come


def test_a_text_that_grows_is_stored_once(path: Path) -> None:
    """A single string that grows at its end is stored in chunks, of which all but the last stay."""
    whole = "\n".join(text(number, 60) for number in range(2_000))
    with SQLiteStore(path) as store:
        for size in range(2_000, 120_000, 2_000):
            store.append("s", [Event("a.b", size, data={"log": whole[:size]})])
        assert [event.data["log"] for event in store.read("s")] == [
            whole[:size] for size in range(2_000, 120_000, 2_000)
        ]
    assert path.stat().st_size < 400_000  # 3.5 MB as it comes


def test_other_handles_find_what_is_there(path: Path, store: SQLiteStore) -> None:
    """What one process stored, another, or the same after a restart, doesn't store again."""
    store.append("s", [prompt(50)])
    pieces = look(path, "SELECT count(*) FROM pieces")
    with SQLiteStore(path) as other:
        other.append("t", [prompt(50)])
        assert [event.data for event in other.read("t")] == [prompt(50).data]
    assert look(path, "SELECT count(*) FROM pieces") == pieces


def test_a_result_and_the_prompt_that_repeats_it_share_the_text(path: Path, store: SQLiteStore) -> None:
    """A text is found again under another key, in an event of another type."""
    store.append("s", [Event("tool.completed", 1, data={"result": text(1)})])
    store.append("s", [Event("model.started", 1, data={"messages": [{"role": "tool", "content": text(1)}]})])
    assert look(path, "SELECT count(*) FROM pieces") == [(1,)]


def test_small_data_stays_as_it_is(path: Path, store: SQLiteStore) -> None:
    """Below 512 bytes nothing changes, and nothing is written but the event."""
    store.append("s", [Event("a.b", 1, data={"text": "x" * 500})])
    assert look(path, "SELECT typeof(data) FROM events") == [("text",)]
    assert look(path, "SELECT count(*) FROM blocks") == [(0,)]


def test_the_view_shows_a_reference(path: Path, store: SQLiteStore) -> None:
    """For other tools' SQL, large data is a reference, and valid JSON."""
    store.append("s", [Event("a.b", 1, data={"n": 1}), Event("a.b", 1), prompt(3)])
    small, empty, large = [data for (data,) in look(path, "SELECT data FROM telemetry_events ORDER BY id")]
    assert (small, empty) == ('{"n":1}', "{}")
    assert look(path, "SELECT json_extract(data, '$.$content') FROM telemetry_events WHERE id = 3") == look(
        path, "SELECT data FROM events WHERE position = 3"
    )
    assert large.startswith('{"$content":')


def test_a_stream_read_in_order_reads_a_block_once(path: Path, store: SQLiteStore) -> None:
    """Though each prompt is made of all the blocks before."""
    for turns in range(1, 41):
        store.append("s", [prompt(turns)])
    ((blocks,),) = look(path, "SELECT count(*) FROM blocks")
    connection = apsw.Connection(str(path))
    reader = ContentReader()
    for (place,) in connection.execute("SELECT data FROM events ORDER BY position"):
        reader.expand(connection, place)
    connection.close()
    assert blocks > 30
    assert reader.blocks_read == blocks


def test_the_last_event_takes_its_contents_along(path: Path, store: SQLiteStore) -> None:
    """Nothing is left of contents that no event names, and what another still names stays whole."""
    for turns in range(1, 31):
        store.append("s", [prompt(turns)])
    store.append("t", [prompt(20)])
    store.truncate("s", 31)
    assert [event.data for event in store.read("t")] == [prompt(20).data]
    assert list(store.verify()) == []
    store.truncate("t", 2)
    for table in ("blocks", "pieces", "uses"):
        assert look(path, f"SELECT count(*) FROM {table}") == [(0,)]


def test_what_another_handle_collected_is_stored_again(path: Path, store: SQLiteStore) -> None:
    """A writer that remembers pieces learns that they went."""
    store.append("s", [prompt(10)])
    with SQLiteStore(path) as other:
        assert [event.data for event in other.read("s")] == [prompt(10).data]
        other.truncate("s", 2)
        store.append("s", [prompt(11)])
        assert [event.data for event in other.read("s")] == [prompt(11).data]
        assert list(other.verify()) == []


def test_a_truncation_amid_a_read_is_not_seen(path: Path, store: SQLiteStore) -> None:
    """Rows and their blocks are read in one state: what goes in between is still there for this page."""
    store.append("s", [prompt(4)])
    store.append("t", [Event("a.b", 1)])
    with SQLiteStore(path) as other:
        assert len(list(other.read("t"))) == 1  # it has a connection now
        removed = []

        def before(_cursor: object, statement: str, _values: object) -> bool:
            if "FROM blocks" in statement and not removed:
                removed.append(store.truncate("s", 2))
            return True

        for connection in other._handle.attachment.connections._idle:
            connection.exec_trace = before
        assert [event.data for event in other.read("s")] == [prompt(4).data]
        assert removed == [1]
        assert list(other.read("s")) == []


def test_numbers_of_blocks_are_not_given_again(path: Path, store: SQLiteStore) -> None:
    """A reader keeps blocks by number: one that is gone must not come back as another."""
    store.append("s", [prompt(2)])
    store.truncate("s", 2)
    store.append("s", [prompt(3)])
    assert look(path, "SELECT id FROM blocks") == [(2,)]


def test_collection_goes_on_after_a_crash(path: Path, store: SQLiteStore) -> None:
    """Blocks that a killed truncation left behind go with the next one."""
    store.append("s", [prompt(5)])
    store.append("t", [Event("a.b", 1)])
    look(path, "DELETE FROM events WHERE stream = 1")
    look(path, "UPDATE streams SET first_version = 2 WHERE id = 1")
    look(path, "UPDATE retention SET removed_events = removed_events + 1")
    look(path, "UPDATE uses SET count = 0")
    store.truncate("nowhere", 1)
    assert look(path, "SELECT count(*) FROM blocks") == [(0,)]
    assert list(store.verify()) == []


def test_a_failed_transaction_leaves_no_memory(path: Path, store: SQLiteStore) -> None:
    """Pieces of a transaction that was rolled back are stored by the next."""
    store.append("s", [Event("a.b", 1)])
    with store._handle.attachment.writing("append to") as connection:
        pages = connection.execute("PRAGMA page_count").get
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailableError, match="full"):
        store.append("s", [prompt(40)])
    with store._handle.attachment.writing("append to") as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    store.append("s", [prompt(40)])
    assert [event.data for event in store.read("s", 2)] == [prompt(40).data]
    assert list(store.verify()) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            "UPDATE blocks SET bytes = substr(bytes, 1, length(bytes) - 9) WHERE id = 2",
            "content block 2 cannot be read",
        ),
        ("UPDATE blocks SET bytes = 'text' WHERE id = 2", "content block 2 cannot be read"),
        ("DELETE FROM blocks WHERE id = 2", "content block 2 is missing"),
    ],
)
def test_a_damaged_block_is_found_and_names_its_events(path: Path, store: SQLiteStore, damage: str, says: str) -> None:
    """Verification says which events it touches; the others can be read."""
    store.append("s", [prompt(2)])
    store.append("s", [prompt(4)])
    store.append("s", [prompt(6)])
    store.append("s", [Event("a.b", 1)])
    look(path, damage)
    found = list(store.verify())
    assert {(item.kind, item.version) for item in found if item.position} == {("content", 2), ("content", 3)}
    assert any(says in item.detail for item in found)
    with SQLiteStore(path, mode="ro") as fresh, pytest.raises(StoreCorruptError, match=f"event 2 .*{says}"):
        list(fresh.read("s"))
    with SQLiteStore(path, mode="ro") as fresh:
        assert len(list(fresh.read("s", 4))) == 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE uses SET count = count - 1 WHERE block = 1", "counted as used 1 times; expected 2"),
        ("DELETE FROM pieces WHERE place = 65536", "piece 0 isn't found by its digest"),
    ],
)
def test_damaged_bookkeeping_is_found(path: Path, store: SQLiteStore, damage: str, says: str) -> None:
    """What would make contents go too early, or be stored twice."""
    store.append("s", [prompt(2)])
    store.append("s", [prompt(4)])
    look(path, damage)
    assert [says in item.detail for item in store.verify()] == [True]


def test_large_data_that_is_no_text_is_refused(store: SQLiteStore) -> None:
    """Bytes that could not be read back are not taken, whatever their size."""
    record = Record("s", "w", 1, Event("a.b", 1), b'{"a":"' + b"\xff" * 600 + b'"}')
    with pytest.raises(UnicodeDecodeError):
        store.append_batch([record])
    assert store.streams() == []


def test_a_truncation_gets_past_damage(path: Path, store: SQLiteStore) -> None:
    """A block that cannot be read can be collected."""
    store.append("s", [prompt(4)])
    look(path, "UPDATE blocks SET bytes = x'00'")
    assert store.truncate("s", 2) == 1
    assert look(path, "SELECT count(*) FROM blocks") == look(path, "SELECT count(*) FROM pieces") == [(0,)]


def test_a_recipe_that_refers_to_itself_ends() -> None:
    """A file made to hang its readers doesn't."""
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE blocks (id INTEGER PRIMARY KEY, bytes BLOB)")
    loop = Entry(ROOT, b"\x01\x00")
    connection.execute("INSERT INTO blocks VALUES (1, ?)", (pack([loop], level=1),))
    with pytest.raises(ContentDamageError, match="comes later"):
        ContentReader().expand(connection, place_of(1, 0))
    connection.close()


@pytest.mark.parametrize("recipe", [b"\x80", b"\x09abc", b"\x03", b"\x05\x00", b"\x01\x80\x80\x80\x01"])
def test_damaged_recipes_are_errors(recipe: bytes) -> None:
    """Whatever stands there, it is an error of one kind."""
    with pytest.raises(ValueError, match=r"ends too early|nowhere"):
        list(parts_of(recipe, 1))


@pytest.mark.parametrize("cut", [1, 5, -1, -4])
def test_a_block_cut_short_is_an_error(cut: int) -> None:
    """Compression's own checksum stands behind a block."""
    packed = pack([Entry(TEXT, b"a" * 100), Entry(ROOT, b"\x02b")], level=6)
    assert unpack(packed) == [Entry(TEXT, b"a" * 100), Entry(ROOT, b"\x02b")]
    with pytest.raises(ValueError, match=r"early|incomplete|bytes"):
        unpack(packed[:cut])


def test_recent_is_bounded() -> None:
    """What was not used for longest goes, and the last one stays however large it is."""
    recent = Recent[str](10)
    recent.put(1, "a", 4)
    recent.put(2, "b", 4)
    assert recent.get(1) == "a"
    recent.put(3, "c", 4)
    assert (recent.get(1), recent.get(2), recent.get(3), recent.size_bytes) == ("a", None, "c", 8)
    recent.put(4, "d", 40)
    assert (recent.get(1), recent.get(3), recent.get(4), recent.size_bytes) == (None, None, "d", 40)
