"""From a commit in one process to the event in another that follows the store."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

from benchmarks.bench import Bench, Load
from benchmarks.measure import quantile
from benchmarks.payload import EVENT_TYPE
from sonde.events import Event, Position
from sonde.store import EventStore
from sonde.store import open as open_store

COUNT = 60

FOLLOW = Bench(
    "follow",
    f"from just before a commit until store.follow() yields the event; {COUNT} events, 10 to 60 ms apart",
    {"p50": "ms", "p99": "ms", "max": "ms"},
    reference="same process",
    rounds=3,
)


def _latencies(store: EventStore, count: int) -> Mapping[str, float]:
    late_ms = []
    for event in store.follow(Position.START, timeout_s=10):
        late_ms.append((time.monotonic_ns() - event.data["sent_ns"]) / 1e6)
        if len(late_ms) == count:
            break
    late_ms.sort()
    return {"p50": quantile(late_ms, 0.5), "p99": quantile(late_ms, 0.99), "max": late_ms[-1]}


@FOLLOW.candidate("same process")
def same_process(load: Load) -> Mapping[str, float]:
    """A thread appends through the store that is followed."""
    count = load.count(COUNT)

    def append() -> None:
        for _ in range(count):
            time.sleep(0.01)
            store.append("bench", [Event(EVENT_TYPE, data={"sent_ns": time.monotonic_ns()})])

    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder, open_store(Path(folder) / "runs.db") as store:
        writer = Thread(target=append)
        writer.start()
        found = _latencies(store, count)
        writer.join()
        return found


@FOLLOW.candidate("other process")
def other_process(load: Load) -> Mapping[str, float]:
    """Another process appends to the file; this one polls it."""
    count = load.count(COUNT)
    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder:
        path = Path(folder) / "runs.db"
        with open_store(path) as store:
            command = [sys.executable, "-m", "benchmarks.children.committing", str(path), str(count)]
            with subprocess.Popen(command):
                return _latencies(store, count)
