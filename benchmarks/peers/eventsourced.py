"""eventsourcing: its SQLite recorder of aggregates, 100 stored events to a call, which is a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteAggregateRecorder, SQLiteDatastore

from benchmarks.payload import EVENT_TYPE, small

BATCH = 100


@contextmanager
def eventsourcing_store(folder: Path) -> Iterator[SQLiteAggregateRecorder]:
    """An empty file, in WAL mode as the library sets it."""
    datastore = SQLiteDatastore(str(folder / "eventsourcing.db"))
    recorder = SQLiteAggregateRecorder(datastore)
    recorder.create_table()
    yield recorder
    datastore.close()


def store(recorder: SQLiteAggregateRecorder, count: int) -> int:
    """Store ``count`` events of one aggregate. How many were stored."""
    originator_id = uuid4()
    for first in range(0, count, BATCH):
        recorder.insert_events(
            [
                StoredEvent(originator_id, n + 1, EVENT_TYPE, json.dumps(small(n)).encode())
                for n in range(first, min(first + BATCH, count))
            ]
        )
    return count
