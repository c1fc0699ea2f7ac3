"""Faults of the disk, for real: no room, no permission, and back again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sonde
from sonde.errors import StoreUnavailableError
from sonde.events import EventType
from sonde.recorder import recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")

# The soft limit on the size of files makes writes fail as a full disk does, and can be taken away again.
FULL_DISK = """
import json, logging, resource, sys, sonde
logging.disable(logging.CRITICAL)
path, bound = sys.argv[1], int(sys.argv[2])
rec = sonde.record(path, session_id="s", max_pending_bytes=bound)
rec.emit("before")
assert rec.flush()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
for i in range(20_000):
    rec.emit("n", i=i)
full = rec.flush(timeout_s=1)
error = rec.stats().error
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
rec.emit("after")
report = rec.flush(timeout_s=60)
stats = rec.stats()
rec.close()
print(json.dumps({
    "pending_when_full": full.pending, "error": error, "complete": bool(report), "pending": report.pending,
    "dropped": sum(report.dropped.values()), "retries": stats.failures.get("write", 0),
}))
"""


def fill(path: Path, bound: int) -> dict[str, object]:
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), str(bound)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    outcome: dict[str, object] = json.loads(run.stdout)
    return outcome


def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """While the disk is full events wait; when there is room again all are written, in order, and none is missing."""
    outcome = fill(tmp_path / "runs.db", 256 * 1024 * 1024)
    assert outcome["pending_when_full"]
    assert "cannot append" in str(outcome["error"])
    assert outcome["retries"]
    assert (outcome["complete"], outcome["pending"], outcome["dropped"]) == (True, 0, 0)
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(20_000))
        assert len(list(store.read_by_type("s", "after"))) == 1
    fault_report(
        fault="files may not grow past 200 kB (RLIMIT_FSIZE)",
        promised="events wait in memory; when files may grow again all are written, in order",
        seen={"events": 20_000, "lost": 0},
    )


def test_a_full_disk_past_the_bound_leaves_a_counted_gap(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """What memory may not hold while the disk is full is counted, and the count is in the store when it is back."""
    outcome = fill(tmp_path / "runs.db", 2_000_000)
    assert outcome["pending"] == 0
    assert outcome["dropped"]
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        events = list(store.read("s"))
    rows = sum(event.type in ("n", "after") for event in events)
    missed = sum(event.data["missed"] for event in events if event.type == EventType.GAP)
    assert rows + missed == 20_001
    assert missed == outcome["dropped"]
    fault_report(
        fault="the same, and more waits than max_pending_bytes",
        promised="what memory may not hold is dropped and counted: events in the store and its gap are all of them",
        seen={"events": 20_001, "in the store": rows, "counted by the gap": missed},
    )


NO_PERMISSION = """
import os, sys, sonde, sonde.recorder, sonde.store
sonde.record(":memory:").close()  # everything is loaded: another user may not be able to read the installation
if os.geteuid() == 0:
    os.setegid(65534); os.seteuid(65534)
try:
    sonde.record(sys.argv[1])
except sonde.StorePermissionError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_may_not_be_written(tmp_path: Path, *, existing: bool) -> None:
    """Recording into a folder without write permission raises one line that names the file, and changes nothing."""
    folder = tmp_path / "closed"
    folder.mkdir()
    path = folder / "runs.db"
    if existing:
        SQLiteStore(path).close()
        path.chmod(0o644)
    for parent in [*folder.parents][:4]:
        if parent.owner() == "root" and os.geteuid() == 0:
            parent.chmod(parent.stat().st_mode | 0o055)
    before = sorted((entry.name, entry.stat().st_size) for entry in folder.iterdir())
    folder.chmod(0o555)
    try:
        run = subprocess.run(
            [sys.executable, "-c", NO_PERMISSION, str(path)], capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        folder.chmod(0o755)
    assert run.returncode == 7, run.stderr
    assert str(path) in run.stdout
    assert run.stdout.count("\n") == 1
    assert sorted((entry.name, entry.stat().st_size) for entry in folder.iterdir()) == before


# Files may not grow past 300 kB: the first arenas fit, larger ones don't; the store is locked meanwhile, so that events
# pile up.
NO_ROOM_FOR_ARENAS = """
import json, resource, signal, sys, apsw, sonde, os
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", memory_interval_s=None)
assert rec.flush()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
for i in range(10_000):
    rec.emit("n", i=i, text="x" * 100)
stats = rec.stats()
rec.emit("large", text="x" * 400_000)
if sys.argv[2] == "kill":
    os.write(1, b"%d" % rec.stats().unjournaled)
    os.kill(os.getpid(), 9)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
other.execute("ROLLBACK")
other.close()
assert rec.flush(30)
print(json.dumps({"unjournaled": stats.unjournaled, "failures": stats.failures, "after": rec.stats().failures}))
rec.close()
"""


def without_room(path: Path, end: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", NO_ROOM_FOR_ARENAS, str(path), end],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_no_room_for_arenas_costs_no_event(tmp_path: Path) -> None:
    """Events that no arena can take are recorded all the same, counted, and said in one line; the host lives."""
    run = without_room(tmp_path / "runs.db", "go on")
    assert run.returncode == 0, run.stderr
    outcome = json.loads(run.stdout)
    assert 0 < outcome["unjournaled"] < 10_000
    assert outcome["after"]["journal"] >= 1
    assert run.stderr.count("cannot make an arena") == 1
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(10_000))
        assert len(list(store.read_by_type("s", "large"))) == 1
    assert not (tmp_path / "runs.db-journal.d").exists()


def test_what_no_arena_could_take_is_in_the_gap_after_a_kill(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """What was journaled is taken in, the rest is counted exactly: nothing is lost without a trace."""
    run = without_room(tmp_path / "runs.db", "kill")
    assert run.returncode == -9
    with SQLiteStore(tmp_path / "runs.db") as store:
        found = recover(store)
        assert found.missed == int(run.stdout)
        (gap,) = store.read_by_type("s", EventType.GAP)
        assert gap.data["missed"] == found.missed
        there = len(list(store.read_by_type("s", "n")))
        assert there + found.missed == 10_001
    fault_report(
        fault="no room for copies at durability emit while the store is locked (RLIMIT_FSIZE), then kill -9",
        promised="what had a copy is taken in, what had none is counted exactly",
        seen={"events": 10_001, "taken in": there, "counted as missing": found.missed},
    )


UNWRITTEN = """
import sys, apsw, logging, sonde
logging.disable(logging.CRITICAL)
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", memory_interval_s=None)
assert rec.flush()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
for i in range(100):
    rec.emit("n", i=i)
assert not rec.close(timeout_s=0.5)
"""


def test_what_close_could_not_write_the_next_one_does(tmp_path: Path) -> None:
    """With durability emit a store that is locked to the end costs nothing: the journal stays for the next opener."""
    run = subprocess.run([sys.executable, "-c", UNWRITTEN, str(tmp_path / "runs.db")], check=False, timeout=60)
    assert run.returncode == 0
    with SQLiteStore(tmp_path / "runs.db") as store:
        assert recover(store).events == 101  # and session.ended
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(100))
    assert not (tmp_path / "runs.db-journal.d").exists()


@pytest.mark.parametrize("size", ["16k", "40k", "64k"])
def test_a_store_cannot_be_made_on_a_full_disk(mount: Callable[..., Path], size: str) -> None:
    """Whichever step of SQLite's it is that fails: the message says that the disk is full."""
    disk = mount("disk", "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    with pytest.raises(StoreUnavailableError, match="the disk is full; free some space and try again"):
        sonde.record(disk / "runs.db")
