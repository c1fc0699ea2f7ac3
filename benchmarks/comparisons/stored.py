"""What an event takes on disk, and what reading it back costs."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from functools import cache
from pathlib import Path

import apsw
import msgspec

import sonde
from benchmarks.bench import Bench, Load
from benchmarks.payload import EVENT_TYPE, small
from benchmarks.peers import original
from sonde.events import Event
from sonde.store import Record, SQLiteStore

COUNT = 50_000
_BATCH = 1_000

SIZE = Bench(
    "size",
    f"bytes of the closed file for each of {COUNT:,} events with the 4-key payload in one stream",
    {"size": "bytes/event"},
    reference="original's schema",
    rounds=1,
    warm_up=False,
)
READING = Bench(
    "reading",
    f"a stream of {COUNT:,} events with the 4-key payload, from the first to the last, from a file in the page cache",
    {"rate": "events/s"},
    reference="original's schema, json.loads",
)


class _Files:
    """The stores that are read, made once."""

    def __init__(self, count: int) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sonde-bench-")
        self.folder = Path(self._temporary.name)
        with original.original_store(self.folder) as db:
            original.store(db, count)
        self.plain = _recorded(self.folder / "plain", count, lambda: ("", "", ""))
        self.spans = _recorded(self.folder / "spans", count, _random_ids)
        self.rows = _stored(self.folder / "rows.db", count, lambda: ("", "", ""))
        self.sealed = _tended(_stored(self.folder / "sealed.db", count, lambda: ("", "", "")))
        self.sealed_spans = _tended(_stored(self.folder / "sealed-spans.db", count, _random_ids))


def _random_ids() -> tuple[str, str, str]:
    return os.urandom(16).hex(), os.urandom(8).hex(), os.urandom(8).hex()


def _stored(path: Path, count: int, ids: Callable[[], tuple[str, str, str]]) -> Path:
    """By a store alone, which leaves the events as rows."""
    with SQLiteStore(path) as store:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            events = [Event(EVENT_TYPE, time.time_ns(), "bench", "", "", small(n), *ids()) for n in numbers]
            store.append_batch(
                [Record("bench", "writer", n + 1, event) for n, event in zip(numbers, events, strict=True)]
            )
    return path


def _tended(path: Path) -> Path:
    """As a recorder leaves a file in its first moments without events."""
    with SQLiteStore(path) as store:
        while store.tend(is_ending=True):
            pass
    return path


def _recorded(folder: Path, count: int, ids: Callable[[], tuple[str, str, str]]) -> Path:
    folder.mkdir()
    path = folder / "runs.db"
    with sonde.record(path, session_id="bench") as rec:
        for n in range(count):
            rec.publish(Event(EVENT_TYPE, 0, "bench", "", "", small(n), *ids()))
    if not (report := rec.close()):
        raise RuntimeError(f"events were lost: {report}")
    return path


@cache
def _files(count: int) -> _Files:
    return _Files(count)


def _size(load: Load, name: str) -> Mapping[str, float]:
    files = _files(load.count(COUNT))
    path = {
        "plain": files.plain,
        "spans": files.spans,
        "sealed": files.sealed,
        "sealed spans": files.sealed_spans,
        "original": files.folder / "original.db",
    }[name]
    return {"size": path.stat().st_size / load.count(COUNT)}


@SIZE.candidate("original's schema")
def original_size(load: Load) -> Mapping[str, float]:
    """The original's schema, which knows no span ids."""
    return _size(load, "original")


@SIZE.candidate("sonde")
def plain_size(load: Load) -> Mapping[str, float]:
    """record() as it comes, checksum and identity included, events without span ids."""
    return _size(load, "plain")


@SIZE.candidate("sonde, span ids")
def span_size(load: Load) -> Mapping[str, float]:
    """The same with trace, span and parent id, all three different in each event."""
    return _size(load, "spans")


@SIZE.candidate("sonde, sealed")
def sealed_size(load: Load) -> Mapping[str, float]:
    """The first again, after a moment without events in which they were sealed."""
    return _size(load, "sealed")


@SIZE.candidate("sonde, span ids, sealed")
def sealed_span_size(load: Load) -> Mapping[str, float]:
    """The second again; random ids cannot be compressed."""
    return _size(load, "sealed spans")


def _rate(load: Load, read: Callable[[], int]) -> Mapping[str, float]:
    began_s = time.perf_counter()
    count = read()
    took_s = time.perf_counter() - began_s
    if count < load.count(COUNT):
        raise RuntimeError(f"read {count:,} events of {load.count(COUNT):,}")
    return {"rate": count / took_s}


@READING.candidate("original's schema, json.loads")
def json_loads(load: Load) -> Mapping[str, float]:
    """sqlite3, one SELECT of type, time, names and data; json.loads of the data, nothing else made of a row."""
    with closing(sqlite3.connect(_files(load.count(COUNT)).folder / "original.db")) as db:
        return _rate(load, lambda: sum(1 for row in db.execute(original.SELECT, ("bench",)) if json.loads(row[5])))


@READING.candidate("original's schema, into events")
def json_loads_into_events(load: Load) -> Mapping[str, float]:
    """The same, with the time parsed by the standard library and an Event made of each row."""

    def events(db: sqlite3.Connection) -> int:
        made = (
            Event(kind, int(datetime.fromisoformat(when).timestamp() * 1e9), session, plan, task, json.loads(data))
            for kind, when, session, plan, task, data in db.execute(original.SELECT, ("bench",))
        )
        return sum(1 for event in made if event.data)

    with closing(sqlite3.connect(_files(load.count(COUNT)).folder / "original.db")) as db:
        return _rate(load, lambda: events(db))


@READING.candidate("bare apsw")
def bare_rows(load: Load) -> Mapping[str, float]:
    """The physical limit: the same columns of sonde's file through apsw, data through msgspec; no Event is made."""
    decode = msgspec.json.Decoder().decode
    select = (
        "SELECT position, version, type, time_ns, origin, seq, ids, data FROM events WHERE stream = 1 ORDER BY version"
    )
    with closing(apsw.Connection(str(_files(load.count(COUNT)).rows))) as db:
        return _rate(load, lambda: sum(1 for row in db.execute(select) if decode(row[7])))


def _read(load: Load, path: Path) -> Mapping[str, float]:
    with sonde.store.open(path, mode="ro") as store:
        return _rate(load, lambda: sum(1 for event in store.read("bench") if event.data))


@READING.candidate("sonde")
def store_read(load: Load) -> Mapping[str, float]:
    """store.read(): a RecordedEvent of each row, let go before the next, as the loops above let go of their rows."""
    return _read(load, _files(load.count(COUNT)).rows)


@READING.candidate("sonde, sealed")
def store_read_sealed(load: Load) -> Mapping[str, float]:
    """The same of events that were sealed, as they are after a moment without events."""
    return _read(load, _files(load.count(COUNT)).sealed)


@READING.candidate("sonde, kept")
def store_read_kept(load: Load) -> Mapping[str, float]:
    """store.read() into a list, so that all events are in memory at once."""
    with sonde.store.open(_files(load.count(COUNT)).rows, mode="ro") as store:
        return _rate(load, lambda: len(list(store.read("bench"))))


@READING.candidate("sonde, span ids")
def store_read_spans(load: Load) -> Mapping[str, float]:
    """Of events with three ids each, mostly as rows."""
    return _read(load, _files(load.count(COUNT)).spans)


@READING.candidate("sonde, span ids, sealed")
def store_read_sealed_spans(load: Load) -> Mapping[str, float]:
    """The same, sealed."""
    return _read(load, _files(load.count(COUNT)).sealed_spans)
