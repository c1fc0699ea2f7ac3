"""The physical limit: sonde's own tables, filled by a bare loop through apsw. No queue, checksum, redaction, identity.

The table is copied from the store, and nothing of the store is used: what the limit costs must not follow what it is
compared with.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import apsw
import msgspec

from benchmarks.payload import EVENT_TYPE, small
from benchmarks.peers.subject import Subject

ROWS = 512
BATCH = 8192
_PAUSE_S = 0.1

_TABLE = """CREATE TABLE events (
    position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL, type INTEGER NOT NULL,
    time_ns INTEGER NOT NULL, origin INTEGER NOT NULL, seq INTEGER NOT NULL, checksum INTEGER NOT NULL, ids BLOB,
    data TEXT, UNIQUE (stream, version))"""
_WIDTH = 10


@contextmanager
def lean_store(folder: Path) -> Iterator[apsw.Connection]:
    """An empty file: apsw, WAL, ``synchronous=NORMAL``, 8 MB of cache."""
    db = apsw.Connection(str(folder / "lean.db"))
    for statement in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL", "cache_size=-8000"):
        db.execute(f"PRAGMA {statement}")
    db.execute(_TABLE)
    yield db
    db.close()


@contextmanager
def written_behind() -> Iterator[Subject]:
    """The bare loop as a recorder: a call appends to a ``deque``, a thread stores what has come each 0.1 s."""
    waiting: deque[tuple[int, str, dict[str, object]]] = deque()
    ends = Event()

    def taken(_n: int) -> object:
        return waiting.popleft()[2]

    def write() -> None:
        stored = 0
        with lean_store(Path(folder)) as db:
            while not ends.wait(_PAUSE_S) or waiting:
                stored += store(db, len(waiting), first=stored, payload=taken)

    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder:
        writer = Thread(target=write)
        writer.start()
        names = {"append": waiting.append, "clock": time.time_ns, "kind": EVENT_TYPE}
        yield Subject("append((clock(), kind, PAYLOAD))", names, lambda: None)
        ends.set()
        writer.join()


def store(
    db: apsw.Connection,
    count: int,
    *,
    first: int = 0,
    payload: Callable[[int], object] = small,
    go_on: Callable[[], bool] = lambda: True,
) -> int:
    """Store ``count`` events in statements of 512 rows, 8,192 to a transaction. How many were stored.

    Their numbers begin at ``first``; ``payload`` says what each consists of.
    """
    encode = msgspec.json.Encoder().encode
    time_ns = time.time_ns
    for done in range(first, first + count, BATCH):
        if not go_on():
            return done - first
        db.execute("BEGIN IMMEDIATE")
        for start in range(done, min(done + BATCH, first + count), ROWS):
            end = min(start + ROWS, first + count)
            values: list[object] = []
            for n in range(start, end):
                values += (n + 1, 1, n + 1, 1, time_ns(), 1, n + 1, 0, None, encode(payload(n)).decode())
            db.execute(_insert(end - start), values)
        db.execute("COMMIT")
    return count


def _insert(rows: int) -> str:
    return f"INSERT INTO events VALUES {','.join([_ROW] * rows)}"


_ROW = f"({','.join('?' * _WIDTH)})"
