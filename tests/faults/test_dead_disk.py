"""A disk that answers no more: writes and syncs that never return. Nothing of it can be cut short, only left behind."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sonde.events import EventType
from sonde.recorder import recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

ENDS_WITHIN_S = 10.0
"""For what has a deadline of a second; without one it would take for ever, and the program be ended after LIMIT_S."""

# Blocks for good at the n-th write or sync from the moment at which `left` is set.
DEAD_DISK = """
import json, os, sys, threading, time, logging
import apsw
logging.disable(logging.CRITICAL)
forever = threading.Lock()
forever.acquire()
left = None

def operation():
    global left
    if left is not None:
        left -= 1
        if left <= 0:
            forever.acquire()

class File(apsw.VFSFile):
    def xWrite(self, data, offset):
        operation()
        super().xWrite(data, offset)
    def xSync(self, flags):
        operation()
        super().xSync(flags)

class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("dead", "unix", makedefault=True)
    def xOpen(self, name, flags):
        return File("unix", name, flags)

disk = Disk()
import sonde, sonde.recorder.exits
sonde.recorder.exits.EXIT_TIMEOUT_S = 1.0
path, durability, end, after = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
rec = sonde.record(path, session_id="s", durability=durability, memory_interval_s=None)
for i in range(100):
    rec.emit("n", i=i)
assert rec.flush(60)
"""

WHILE_WRITING = (
    DEAD_DISK
    + """
left = after
worst_s = 0
for i in range(100, 3000):
    began_s = time.perf_counter()
    rec.emit("n", i=i)
    worst_s = max(worst_s, time.perf_counter() - began_s)
flushed = rec.flush(0.5)
assert not flushed and flushed.pending, flushed
report, took_s = None, None
if end == "close":
    began_s = time.monotonic()
    report = rec.close(1)
    took_s = time.monotonic() - began_s
    report = [report.committed, report.pending, sum(report.dropped.values())]
print(json.dumps([report, took_s, worst_s, time.time()]), flush=True)
"""
)

WHILE_CLOSING = (
    DEAD_DISK
    + """
left = after
began_s = time.monotonic()
report = rec.close(1)
print(json.dumps([report.pending, time.monotonic() - began_s, left, time.time()]), flush=True)
"""
)


def kept(path: Path) -> tuple[list[int], int]:
    """What the next opener finds: the numbers that are in the store, and how many events the gaps speak of at most."""
    with SQLiteStore(path) as store:
        recover(store)
        assert not list(store.verify())
        events = list(store.read("s"))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    missed = sum(event.data["missed"] for event in events if event.type == EventType.GAP)
    return [event.data["i"] for event in events if event.type == "n"], missed


@pytest.mark.parametrize("after", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 8))])
@pytest.mark.parametrize("end", ["exit", pytest.param("close", marks=pytest.mark.long)])
@pytest.mark.parametrize("durability", ["commit", pytest.param("emit", marks=pytest.mark.long)])
def test_closing_and_exit_end_in_time(
    tmp_path: Path,
    play: Callable[..., Any],
    fault_report: Callable[..., None],
    durability: str,
    end: str,
    after: int,
) -> None:
    """Neither waits for a write that never returns, nor does emit; the report says how many events are not written."""
    path = tmp_path / "runs.db"
    report, took_s, worst_s, printed_s = play(WHILE_WRITING, path, durability, end, after)
    exit_s = time.time() - printed_s
    numbers, missed = kept(path)
    assert numbers[:100] == list(range(100))
    assert worst_s < 1
    assert exit_s < ENDS_WITHIN_S
    if report is not None:
        assert took_s < ENDS_WITHIN_S
        committed, pending, dropped = report
        assert dropped == 0
        assert committed + pending == 1 + 3000 + 1  # with the session's beginning and end
    if durability == "emit":
        assert (numbers, missed) == (list(range(3000)), 0)
    else:
        assert numbers == list(range(len(numbers)))
        assert 3000 <= len(numbers) + missed <= 3000 + 2 + 1024
    fault_report(
        fault="the disk answers no more: a write or sync never returns",
        promised="emit goes on; close(timeout) and the program's exit end in their deadline and say how many events "
        "are not written; the next opener finds or counts these",
        seen={
            "runs": 1,
            "worst close(1): {} s": took_s or 0,
            "worst exit with a deadline of 1 s: {} s": exit_s,
            "worst emit: {} ms": worst_s * 1000,
            "events neither in the store nor counted": max(0, 3000 - len(numbers) - missed),
        },
    )


# Of some 40 operations the first half commit, the second are those of closing the file.
@pytest.mark.parametrize("after", [20, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 5, 10, 15, 25, 30, 40))])
def test_a_disk_that_dies_while_the_recorder_is_closed(
    tmp_path: Path, play: Callable[..., Any], fault_report: Callable[..., None], after: int
) -> None:
    """At whichever of the last writes it dies, the file's own closing included: close and exit keep their deadline."""
    path = tmp_path / "runs.db"
    pending, took_s, left, printed_s = play(WHILE_CLOSING, path, "commit", "close", after)
    exit_s = time.time() - printed_s
    assert took_s < ENDS_WITHIN_S
    assert exit_s < ENDS_WITHIN_S
    numbers, missed = kept(path)
    assert numbers == list(range(100))
    assert pending <= 1
    assert missed <= 1 + 1024  # the session's end, or nothing; "at most"
    fault_report(
        fault="the disk dies at the n-th operation of close()",
        promised="close(timeout) and exit end in their deadline; what was committed is there",
        seen={
            "runs": 1,
            "in which the disk died": int(left <= 0),
            "worst close(1): {} s": took_s,
            "worst exit: {} s": exit_s,
            "committed events lost": 100 - len(numbers),
        },
    )
