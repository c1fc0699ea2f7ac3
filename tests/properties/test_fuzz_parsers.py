"""Whatever bytes a reader is given, it gives a result or the error that it documents: no other, and in bounded time."""

from __future__ import annotations

import functools
import io
import json
import sqlite3
import string
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sonde
from sonde.errors import ConfigError, EventDecodeError, SondeError
from sonde.events import Event, Position, parse_timestamp
from sonde.instrument import FilePrices
from sonde.journal.mark import SUFFIX, read_mark
from sonde.journal.record import pack_record, read_records
from sonde.journal.remains import look, read_arena
from sonde.metrics.codec import decode_series
from sonde.profiling.chunk_reader import ChunkReader
from sonde.receivers import import_jsonl, import_original
from sonde.store import SQLiteStore, stretch
from sonde.store.block import Entry, pack, parts_of, unpack

HERE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
MOMENTS = st.sampled_from(
    [
        "2026-02-11T09:30:00.63Z",
        "0000-00-00T00:00:00Z",
        "9999-12-31T23:59:60+99:99",
        "2026-02-11 09:30:00 +0000 UTC",
        "",
    ]
)


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """A whole thing with bytes changed, cut out, put in or cut off."""
    changed = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["change", "insert", "remove", "cut"])):
            case "change" if at < len(changed):
                changed[at] = draw(st.integers(0, 255))
            case "insert":
                changed[at:at] = draw(st.binary(max_size=9))
            case "remove":
                del changed[at : at + draw(st.integers(1, 40))]
            case _:
                del changed[at:]
    return bytes(changed)


def anything_but(expected: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]) -> object:
    """What a call gives; ``None`` if it raises what it may."""
    try:
        return call()
    except expected:
        return None


@functools.cache
def event_line() -> bytes:
    return Event(
        "tool.started",
        1_795_357_700_000_000_000,
        "s",
        "p",
        "t",
        {"tool": "grep", "args": {"pattern": "x"}},
        "ab" * 16,
        "cd" * 8,
    ).to_json()


# -- events ------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=60) | mutated(event_line()) | JSON.map(lambda value: json.dumps(value).encode()))
def test_an_event_is_read_or_refused(text: bytes) -> None:
    """From any bytes comes an event, or EventDecodeError."""
    found = anything_but(EventDecodeError, lambda: Event.from_json(text))
    assert found is None or Event.from_json(found.to_json()) == found  # type: ignore[attr-defined]


FIELDS = ["type", "timestamp", "sessionId", "planId", "taskId", "data", "traceId", "spanId", "parentId"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON | MOMENTS, max_size=9))
def test_fields_of_any_type_are_read_or_refused(fields: dict[str, Any]) -> None:
    """A field that isn't what it should be is refused by name, whatever it is."""
    anything_but(EventDecodeError, lambda: Event.from_json(json.dumps(fields).encode()))


@given(st.text(max_size=40) | MOMENTS | st.text(string.digits + "-:TZ+. ", max_size=40))
def test_a_timestamp_is_read_or_refused(text: str) -> None:
    """Of any text."""
    found = anything_but(EventDecodeError, lambda: parse_timestamp(text))
    assert found is None or isinstance(found, int)


@given(st.text(max_size=40) | st.text("0123456789", max_size=30) | st.just("9" * 5_000))
def test_a_position_is_read_or_refused(text: str) -> None:
    """Of any text, however long a number it is."""
    anything_but(ConfigError, lambda: Position.parse(text))


# -- ways in -----------------------------------------------------------------------------------------------------------


@HERE
@given(st.lists(st.binary(max_size=40) | mutated(event_line()), max_size=6).map(b"\n".join))
def test_lines_of_anything_are_imported_or_skipped(text: bytes) -> None:
    """Each line is an event, or is skipped and counted; what was imported is whole."""
    with SQLiteStore(":memory:") as store:
        report = import_jsonl(store, io.BytesIO(text), skip_bad=True)
        lines = sum(1 for line in text.split(b"\n") if line.strip())
        assert report.imported + report.duplicates + report.skipped_count <= lines
        assert report.imported == store.health().events
        assert list(store.verify()) == []


@functools.cache
def original_file() -> bytes:
    """A file as the Go original lays it out."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "o.db")
        connection.execute(
            """CREATE TABLE telemetry_events (id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT, event_type TEXT,
               version INTEGER, session_id TEXT, plan_id TEXT, task_id TEXT, data TEXT, timestamp DATETIME,
               UNIQUE (stream_id, version))"""
        )
        connection.executemany(
            "INSERT INTO telemetry_events VALUES (?, 's', 'tool.completed', ?, 's', '', '', ?, ?)",
            [(n, n, json.dumps({"n": n}), "2026-02-11 09:30:00.6 +0000 UTC") for n in range(1, 40)],
        )
        connection.commit()
        connection.close()
        return (Path(folder) / "o.db").read_bytes()


@HERE
@given(st.data())
def test_a_damaged_original_is_imported_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes flipped anywhere in a file of the original: what can be read comes in, or a SondeError says why not."""
    path = tmp_path / "o.db"
    path.write_bytes(data.draw(mutated(original_file())))

    def read() -> None:
        with SQLiteStore(":memory:") as target:
            import_original(target, path)
            assert list(target.verify()) == []

    anything_but(SondeError, read)


@HERE
@given(st.sampled_from(["stream_id", "event_type", "session_id", "data", "timestamp"]), st.binary(max_size=6))
def test_text_that_is_no_utf8_is_damage(tmp_path: Path, column: str, text: bytes) -> None:
    """SQLite takes any bytes for a text; who reads them is told that the file is damaged."""
    path = tmp_path / "o.db"
    path.write_bytes(original_file())
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE telemetry_events SET {column} = CAST(? AS TEXT) WHERE id = 7", (text,))
    connection.commit()
    connection.close()

    def read() -> None:
        with SQLiteStore(":memory:") as target:
            import_original(target, path)

    anything_but(SondeError, read)


VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=9) | st.binary(max_size=9)


@HERE
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), max_size=4))
def test_an_original_with_odd_values_is_imported_or_refused(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    """SQLite holds any type in any column."""
    path = tmp_path / "o.db"
    path.write_bytes(original_file())
    connection = sqlite3.connect(path)
    connection.executemany(
        """INSERT INTO telemetry_events (stream_id, event_type, version, session_id, plan_id, task_id, data, timestamp)
           VALUES ('odd', ?1, ?2, ?1, ?1, ?1, ?3, ?4) ON CONFLICT DO NOTHING""",
        rows,
    )
    connection.commit()
    connection.close()

    def read() -> None:
        with SQLiteStore(":memory:") as target:
            import_original(target, path)
            assert list(target.verify()) == []

    anything_but(SondeError, read)


# -- the journal -------------------------------------------------------------------------------------------------------


@functools.cache
def journal_files() -> dict[str, bytes]:
    """What a recorder leaves in its journal's folder while events wait."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.db"
        rec = sonde.record(path, session_id="s", durability="emit", journal="disk", memory_interval_s=None)
        try:
            for n in range(20):
                rec.emit("note.taken", n=n, text="x" * n)
            files = {file.name: file.read_bytes() for file in Path(f"{path}-journal.d").iterdir()}
        finally:
            rec.close()
        return files


@HERE
@given(st.data())
def test_a_damaged_journal_is_read_as_far_as_it_goes(tmp_path: Path, data: st.DataObject) -> None:
    """No content of an arena or a mark raises; who only looks changes nothing."""
    folder = tmp_path / "j"
    folder.mkdir(exist_ok=True)
    for name, content in journal_files().items():
        start = data.draw(st.integers(0, min(len(content), 4096)))
        changed = content[:start] + data.draw(st.binary(max_size=64)) + content[start + 64 :]
        (folder / name).write_bytes(changed)
        if name.endswith(SUFFIX):
            with open(folder / name, "rb") as file:
                read_mark(file.fileno())
        else:
            read_arena(str(folder / name), "w")
    look(str(folder))


@given(st.binary(max_size=200) | mutated(pack_record(sonde.PublishedEvent("a.b", data={"n": 1}, seq=1)) * 3))
def test_records_end_with_what_is_no_record(segment: bytes) -> None:
    """Of any bytes as many records are read as are whole."""
    read_records(segment)


# -- large data and sealed events --------------------------------------------------------------------------------------


@given(st.binary(max_size=80) | mutated(pack([Entry(0, b"text"), Entry(2, b"\x08abcd\x01\x00")], level=6)))
def test_a_block_is_read_or_refused(block: bytes) -> None:
    """ValueError is what who reads one expects."""
    anything_but(ValueError, lambda: unpack(block))


@given(st.binary(max_size=80), st.integers(0, 2**40))
def test_a_recipe_is_read_or_refused(recipe: bytes, block: int) -> None:
    """References that lead nowhere, lengths past the end."""
    anything_but(ValueError, lambda: list(parts_of(recipe, block)))


# -- what events carry -------------------------------------------------------------------------------------------------


@given(JSON)
def test_a_profile_in_an_event_is_read_or_refused(data: Any) -> None:
    """Events of any program may have this type."""
    anything_but(EventDecodeError, lambda: ChunkReader().read(data))


CHUNK = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.lists(st.integers(-5, 50), max_size=12) | st.lists(st.text(max_size=3), max_size=5)
        for name in ("definitions", "sample_types", "rows", "labels", "strings", "functions", "frames", "stacks")
    },
)


@given(CHUNK)
def test_a_profile_with_odd_tables_is_read_or_refused(data: dict[str, Any]) -> None:
    """The right keys with the wrong things in them."""
    anything_but(EventDecodeError, lambda: ChunkReader().read(data))


FAMILIES = st.lists(
    st.fixed_dictionaries(
        {"name": st.text(max_size=4), "type": st.sampled_from(["counter", "gauge", "histogram", "x"])},
        optional={
            "bounds": st.lists(st.floats(), max_size=4),
            "series": st.lists(
                st.dictionaries(
                    st.sampled_from(["value", "labels", "count", "sum", "buckets", "bins", "scale", "smallest"]),
                    JSON | st.lists(st.integers(-3, 10), max_size=6) | st.sampled_from(["9" * 5_000, "nan", "1e999"]),
                    max_size=8,
                ),
                max_size=3,
            ),
        },
    ),
    max_size=3,
)


@given(st.fixed_dictionaries({"version": JSON | st.just(1), "families": FAMILIES | JSON, "time_ns": st.integers()}))
def test_metrics_in_an_event_are_read_or_refused(data: dict[str, Any]) -> None:
    """Events of any program may have this type."""
    anything_but(EventDecodeError, lambda: decode_series(data))


@HERE
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_a_price_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    """The message names the file and the key."""
    path = tmp_path / "prices.json"
    path.write_bytes(content)
    anything_but(ConfigError, lambda: FilePrices(path))


@pytest.mark.parametrize("depth", [50, 5_000, 200_000])
def test_nesting_has_an_end(depth: int) -> None:
    """A bomb of brackets is refused, or read as it is; the interpreter survives."""
    line = b'{"type":"a.b","data":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    anything_but(EventDecodeError, lambda: Event.from_json(line))
    with SQLiteStore(":memory:") as store:
        report = import_jsonl(store, io.BytesIO(line), skip_bad=True)
        assert report.imported + report.skipped_count == 1


ROWS = [(n, 1, n, 4, 10**18 + n, 1, n, 77, bytes(24), f'{{"n":{n}}}') for n in range(1, 9)]


@given(st.binary(max_size=80) | mutated(stretch.pack(ROWS)))
def test_a_sealed_stretch_is_read_or_refused(packed: bytes) -> None:
    """ValueError is what who reads one expects."""
    anything_but(ValueError, lambda: stretch.unpack(packed))
