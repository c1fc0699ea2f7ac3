"""From the first emit to the last commit: sonde's recorder against a bare loop into the Go original's schema."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from pathlib import Path

import sonde
from sonde.events import format_timestamp

COUNT = 60_000

_SCHEMA = """
CREATE TABLE telemetry_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL, event_type TEXT NOT NULL, version INTEGER NOT NULL,
    session_id TEXT NOT NULL DEFAULT '', plan_id TEXT NOT NULL DEFAULT '', task_id TEXT NOT NULL DEFAULT '',
    data TEXT NOT NULL DEFAULT '{}', timestamp TIMESTAMP NOT NULL, UNIQUE(stream_id, version));
CREATE INDEX idx_telemetry_stream ON telemetry_events(stream_id, version);
CREATE INDEX idx_telemetry_type ON telemetry_events(stream_id, event_type);
CREATE INDEX idx_telemetry_time ON telemetry_events(timestamp);
"""


def sonde_events_a_second() -> float:
    """``record()`` as it comes: redaction, sanitising and checksums on."""
    with tempfile.TemporaryDirectory() as folder, sonde.record(Path(folder) / "runs.db", session_id="bench") as rec:
        rec.flush()
        began_s = time.perf_counter()
        for n in range(COUNT):
            rec.emit("tool.completed", {"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n})
        report = rec.flush()
        took_s = time.perf_counter() - began_s
        if not report:
            raise RuntimeError(f"events were lost: {report}")
        return COUNT / took_s


def original_events_a_second() -> float:
    """The same events in the original's schema, ``executemany`` in batches of 100, WAL and ``synchronous=NORMAL``."""
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "runs.db", isolation_level=None)
        db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        began_s = time.perf_counter()
        batch = []
        for n in range(COUNT):
            data = json.dumps({"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n})
            batch.append(("bench", "tool.completed", n + 1, "bench", "", "", data, format_timestamp(time.time_ns())))
            if len(batch) == 100:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    "INSERT INTO telemetry_events (stream_id, event_type, version, session_id, plan_id, task_id, data,"
                    " timestamp) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    batch,
                )
                db.execute("COMMIT")
                batch.clear()
        took_s = time.perf_counter() - began_s
        db.close()
        return COUNT / took_s
