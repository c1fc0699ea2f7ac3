"""The original's own schema, as its Go program makes it, written through ``executemany`` in batches of 100."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.payload import EVENT_TYPE, small

BATCH = 100

_SCHEMA = """
CREATE TABLE telemetry_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL, event_type TEXT NOT NULL, version INTEGER NOT NULL,
    session_id TEXT NOT NULL DEFAULT '', plan_id TEXT NOT NULL DEFAULT '', task_id TEXT NOT NULL DEFAULT '',
    data TEXT NOT NULL DEFAULT '{}', timestamp TIMESTAMP NOT NULL, UNIQUE(stream_id, version));
CREATE INDEX idx_telemetry_stream ON telemetry_events(stream_id, version);
CREATE INDEX idx_telemetry_type ON telemetry_events(stream_id, event_type);
CREATE INDEX idx_telemetry_time ON telemetry_events(timestamp);
"""
_INSERT = (
    "INSERT INTO telemetry_events (stream_id, event_type, version, session_id, plan_id, task_id, data, timestamp)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
SELECT = (
    "SELECT event_type, timestamp, session_id, plan_id, task_id, data FROM telemetry_events WHERE stream_id = ?"
    " ORDER BY version"
)


def row(n: int) -> tuple[object, ...]:
    """One event as the original stores it: data as JSON, time as text, its session in full."""
    data = json.dumps(small(n), separators=(",", ":"))
    return ("bench", EVENT_TYPE, n + 1, "bench", "", "", data, f"{datetime.now(UTC).replace(tzinfo=None)}+00:00")


@contextmanager
def original_store(folder: Path) -> Iterator[sqlite3.Connection]:
    """An empty file: standard library's sqlite3, WAL, ``synchronous=NORMAL``."""
    db = sqlite3.connect(folder / "original.db", isolation_level=None)
    db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
    yield db
    db.close()


def store(db: sqlite3.Connection, count: int, *, go_on: Callable[[], bool] = lambda: True) -> int:
    """Store ``count`` events, a transaction for each hundred, while ``go_on`` says so. How many were stored."""
    for first in range(0, count, BATCH):
        if not go_on():
            return first
        rows = [row(n) for n in range(first, min(first + BATCH, count))]
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_INSERT, rows)
        db.execute("COMMIT")
    return count
