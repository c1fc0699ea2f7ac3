"""The physical limit: sonde's own tables, filled by a bare loop through apsw. No queue, checksum, redaction, identity.

The table is copied from the store, and nothing of the store is used: what the limit costs must not follow what it is
compared with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from benchmarks.payload import small

ROWS = 512
BATCH = 8192

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


def store(db: apsw.Connection, count: int, *, go_on: Callable[[], bool] = lambda: True) -> int:
    """Store ``count`` events in statements of 512 rows, 8,192 to a transaction. How many were stored."""
    encode = msgspec.json.Encoder().encode
    time_ns = time.time_ns
    for first in range(0, count, BATCH):
        if not go_on():
            return first
        db.execute("BEGIN IMMEDIATE")
        for start in range(first, min(first + BATCH, count), ROWS):
            end = min(start + ROWS, count)
            values: list[object] = []
            for n in range(start, end):
                values += (n + 1, 1, n + 1, 1, time_ns(), 1, n + 1, 0, None, encode(small(n)).decode())
            db.execute(_insert(end - start), values)
        db.execute("COMMIT")
    return count


def _insert(rows: int) -> str:
    return f"INSERT INTO events VALUES {','.join([_ROW] * rows)}"


_ROW = f"({','.join('?' * _WIDTH)})"
