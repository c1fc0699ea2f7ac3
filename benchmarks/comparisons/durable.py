"""From the first emit to the last commit; and the same beside a thread that never lets go of the interpreter."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.comparisons.spinner import Spinner
from benchmarks.measure import compile_loop
from benchmarks.payload import EVENT_TYPE, PAYLOADS
from benchmarks.peers import eventsourced, lean, original
from benchmarks.peers.sonde import recorder

COUNT = 60_000
_BUSY_LIMIT_S = 1.0
"""Beside a busy thread some stores take minutes: they are stopped, and what they stored by then counts."""

DURABLE = Bench(
    "durable",
    f"{COUNT:,} events with the 4-key payload until committed; one stream",
    {"rate": "events/s"},
    reference="original's schema",
)


class _Store(Protocol):
    def __call__(self, into: Any, count: int, /) -> int: ...


def _rate(open_in: Callable[[Path], AbstractContextManager[Any]], store: _Store, *, busy: bool) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with (
            tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder,
            open_in(Path(folder)) as into,
            Spinner() if busy else nullcontext(),
        ):
            began_s = time.perf_counter()
            stored = store(into, load.count(COUNT))
            return {"rate": stored / (time.perf_counter() - began_s)}

    return measure


def _stopping(store: Callable[..., int]) -> _Store:
    def stopped(into: Any, count: int, /) -> int:
        until_s = time.perf_counter() + _BUSY_LIMIT_S
        return store(into, count, go_on=lambda: time.perf_counter() < until_s)

    return stopped


def _record(rec: Any, count: int, /) -> int:
    compile_loop(f"emit(kind, {PAYLOADS['4 keys']})", {"emit": rec.emit, "kind": EVENT_TYPE})(0, count)
    if not (report := rec.flush()):
        raise RuntimeError(f"events were lost: {report}")
    return count


_SONDE = "record() as it comes, one emit an event, then flush: redaction, sanitising, checksum, identity"
_ORIGINAL = "the original's schema, sqlite3, executemany in batches of 100, JSON and time as text made in the loop"
_UNREDACTED = "record(redact=False), otherwise as it comes: what the look for secrets costs where none are"
_LEAN = "the limit: sonde's table filled by a bare apsw loop, 512 rows a statement, JSON by msgspec, nothing else"

DURABLE.add("sonde", _rate(lambda folder: recorder(), _record, busy=False), _SONDE)
DURABLE.add("sonde, without redaction", _rate(lambda folder: recorder(redact=False), _record, busy=False), _UNREDACTED)
DURABLE.add("original's schema", _rate(original.original_store, original.store, busy=False), _ORIGINAL)
DURABLE.add(
    "eventsourcing",
    _rate(eventsourced.eventsourcing_store, eventsourced.store, busy=False),
    "SQLiteAggregateRecorder.insert_events, 100 to a call",
)
DURABLE.add("bare apsw", _rate(lean.lean_store, lean.store, busy=False), _LEAN)
DURABLE.add("sonde, busy", _rate(lambda folder: recorder(), _record, busy=True), f"{_SONDE}; beside a busy thread")
DURABLE.add(
    "original's schema, busy",
    _rate(original.original_store, _stopping(original.store), busy=True),
    f"{_ORIGINAL}; beside a busy thread, stopped after {_BUSY_LIMIT_S:g} s",
)
DURABLE.add(
    "bare apsw, busy", _rate(lean.lean_store, _stopping(lean.store), busy=True), f"{_LEAN}; beside a busy thread"
)
