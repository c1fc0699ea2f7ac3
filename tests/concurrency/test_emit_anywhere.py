"""``emit`` where nothing may wait: in signal handlers that interrupt it, and in finalizers that run amid it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs interval timers")

# Finalizers run when the garbage collector finds their cycles: on any thread that allocates, sonde's own included.
# What is in a list was emitted: an append is one step. An exception in a finalizer would be printed.
EMITTING = """
import gc, itertools, json, signal, sys, sonde
path, durability, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
rec = sonde.record(path, session_id="s", durability=durability, memory_interval_s=None)
numbers = {kind: itertools.count() for kind in ("plain", "handler", "finalizer")}
returned = {kind: [] for kind in numbers}
def emit(kind):
    i = next(numbers[kind])
    rec.emit("n", kind=kind, i=i)
    returned[kind].append(i)
class Finalizer:
    def __init__(self):
        self.cycle = self
    def __del__(self):
        emit("finalizer")
signal.signal(signal.SIGALRM, lambda *_: emit("handler"))
gc.set_threshold(20)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
while len(returned["handler"]) < wanted or len(returned["finalizer"]) < wanted:
    if len(returned["finalizer"]) < wanted:
        Finalizer()
    if len(returned["plain"]) < 10 * wanted:
        emit("plain")
signal.setitimer(signal.ITIMER_REAL, 0)
gc.set_threshold(0)
gc.collect()
stats = rec.stats()
assert rec.close(), rec.stats()
print(json.dumps([{kind: sorted(some) for kind, some in returned.items()}, stats.unjournaled, stats.journal_bytes]))
"""


@pytest.mark.parametrize("wanted", [500, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("durability", ["commit", "emit"])
def test_handlers_and_finalizers_lose_nothing(tmp_path: Path, durability: str, wanted: int) -> None:
    """Thousands of emits interrupt each other at any point: no deadlock, no exception, and what returned is stored."""
    if durability == "emit" and not sys.platform.startswith("linux"):
        pytest.skip("the journal needs Linux")
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", EMITTING, str(path), durability, str(wanted)],
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    returned, unjournaled, journal_bytes = json.loads(run.stdout)
    assert all(len(some) >= wanted for some in returned.values())
    with SQLiteStore(path, mode="ro") as store:
        events = [event.data for event in store.read("s") if event.type == "n"]
    for kind, some in returned.items():
        assert sorted(event["i"] for event in events if event["kind"] == kind) == some
    assert unjournaled == 0
    assert journal_bytes <= (4 << 20) + 4 * 100 * len(events)
