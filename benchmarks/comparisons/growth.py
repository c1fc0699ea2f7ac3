"""What it costs to work with a store that already holds much."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from benchmarks.bench import Bench, Candidate, Load, show
from benchmarks.payload import EVENT_TYPE, small
from sonde.events import Event, encode_data
from sonde.store import EventStore, Record
from sonde.store import open as open_store

SESSION_EVENTS = 1_000
APPENDED = 10_000
_BATCH = 5_000
_READS = 20

SIZES: Mapping[str, tuple[int, ...]] = {
    "quick": (0, 10_000, 50_000),
    "normal": (0, 100_000, 1_000_000),
    "full": (0, 1_000_000, 10_000_000, 30_000_000),
}

GROWTH = Bench(
    "growth",
    f"on a store of so many events, in sessions of {SESSION_EVENTS:,}: append of {APPENDED:,} in batches of 1,000,"
    " read of a session's last 100, `sonde sessions` as a command",
    {"append": "µs/event", "last 100": "µs", "sessions": "ms"},
    reference="0 events",
    rounds=5,
)


def _records(first: int, count: int, writer_id: str) -> list[Record]:
    """Tool calls, a started and a completed event each, with ids as operations have them."""
    made = []
    for n in range(first, first + count):
        session_id = f"session-{n // SESSION_EVENTS}"
        at = n % SESSION_EVENTS
        data = {"pid": 1} if at == 0 else small(n)
        kind = "session.started" if at == 0 else EVENT_TYPE if at % 2 else "tool.started"
        event = Event(
            kind,
            1_770_000_000_000_000_000 + n * 1_000_000,
            session_id,
            "",
            "",
            data,
            f"{n:032x}",
            f"{at // 2 + 1:016x}",
        )
        made.append(Record(session_id, writer_id, n + 1, event, encode_data(data)))
    return made


class _Stores:
    """A store of each size: one grows, and a copy is kept at each mark."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sonde-bench-")
        self.paths: dict[int, Path] = {}
        growing = Path(self._temporary.name) / "growing.db"
        held = 0
        for size in sizes:
            with open_store(growing) as store:
                while held < size:
                    store.append_batch(_records(held, min(_BATCH, size - held), "bench"))
                    held += min(_BATCH, size - held)
                    show(f"growth: {held:,} events")
            self.paths[size] = Path(self._temporary.name) / f"{size}.db"
            shutil.copyfile(growing, self.paths[size])
        growing.unlink()


@cache
def _stores(kind: str) -> _Stores:
    return _Stores(SIZES[kind])


_appended: dict[Path, int] = {}
"""Each round appends sessions of its own."""


def _append_us(store: EventStore, path: Path) -> float:
    turn = _appended[path] = _appended.get(path, 0) + 1
    records = _records(1_000_000_000 * turn, APPENDED, f"round-{turn}")
    began_s = time.perf_counter()
    for first in range(0, APPENDED, 1000):
        store.append_batch(records[first : first + 1000])
    return (time.perf_counter() - began_s) / APPENDED * 1e6


def _last_100_us(store: EventStore, path: Path) -> float:
    session_id = f"session-{1_000_000 * _appended[path]}"
    began_s = time.perf_counter()
    for _ in range(_READS):
        if len(list(store.read(session_id, store.head(session_id) - 99))) != 100:
            raise RuntimeError(f"{session_id} gave something else than its last 100 events")
    return (time.perf_counter() - began_s) / _READS * 1e6


def _sessions_ms(path: Path) -> float:
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "sonde", "sessions", "--db", str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began_s) * 1000


def _cost(size: int) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        path = _stores("quick" if load.quick else "full" if load.full else "normal").paths[size]
        with open_store(path) as store:
            return {
                "append": _append_us(store, path),
                "last 100": _last_100_us(store, path),
                "sessions": _sessions_ms(path),
            }

    return measure


def _add_sizes(load: Load) -> None:
    for size in SIZES["quick" if load.quick else "full" if load.full else "normal"]:
        GROWTH.add(f"{size:,} events", _cost(size), "SQLiteStore, batches of records that are encoded already")


GROWTH.prepare = _add_sizes
