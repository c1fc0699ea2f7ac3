"""The journal's folder: full, read-only, removed, its files cut off, while a program records at durability emit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sonde.events import EventType
from sonde.journal import folder_of, place
from sonde.recorder import recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

Report = Callable[..., None]


@pytest.fixture
def small_disk(mount: Callable[..., Path]) -> Path:
    """A file system of 600 kB where the journal of ``runs.db`` goes."""
    return mount("runs.db-journal.d", "-t", "tmpfs", "-o", "size=600k,mode=700", "tmpfs")


def run(source: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False
    )


# The store is locked meanwhile, so that events pile up.
FILLING = """
import json, os, sys, apsw, sonde
import sonde.journal.place
sonde.journal.place.FOLDER = sys.argv[4]
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", journal=sys.argv[3], memory_interval_s=None)
assert rec.flush()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
for i in range(10_000):
    rec.emit("n", i=i, text="x" * 100)
stats = rec.stats()
print(json.dumps({"unjournaled": stats.unjournaled, "journal_bytes": stats.journal_bytes}), flush=True)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), 9)
other.execute("ROLLBACK")
other.close()
assert rec.close()
"""


@pytest.mark.parametrize("end", ["close", "kill"])
@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_no_room_for_the_journal(
    tmp_path: Path,
    small_disk: Path,
    fault_report: Report,
    monkeypatch: pytest.MonkeyPatch,
    journal: str,
    end: str,
) -> None:
    """What no arena could take is recorded all the same and counted; after a kill just that is missing, and said."""
    path = tmp_path / "runs.db"
    monkeypatch.setattr(place, "FOLDER", str(small_disk))  # as small as a container's shared memory may be
    done = run(FILLING, path, end, journal, small_disk)
    assert done.returncode == (0 if end == "close" else -signal.SIGKILL), done.stderr
    outcome = json.loads(done.stdout)
    assert 0 < outcome["journal_bytes"] <= 600_000
    assert 3000 < outcome["unjournaled"] < 10_000
    with SQLiteStore(path) as store:
        found = recover(store)
        assert found.missed == (outcome["unjournaled"] if end == "kill" else 0)
        there = [event.data["i"] for event in store.read_by_type("s", "n")]
    assert len(there) == len(set(there)) == 10_000 - found.missed
    assert not list(small_disk.iterdir())
    fault_report(
        fault="no room for the journal of durability emit (a tmpfs of 600 kB), while the store is locked; then kill -9",
        promised="the program goes on; events without a copy are recorded all the same, and counted: just as many does "
        "the next recorder miss after a kill",
        seen={"events": 10_000, "without a copy": outcome["unjournaled"], "missing, all counted": found.missed},
    )


PLAIN = """
import json, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability=sys.argv[2], memory_interval_s=None)
for i in range(100):
    rec.emit("n", i=i)
assert rec.flush()
stats = rec.stats()
assert rec.close()
print(json.dumps({"unjournaled": stats.unjournaled, "failures": stats.failures}))
"""


@pytest.mark.parametrize("durability", ["commit", "emit"])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, small_disk: Path, fault_report: Report, durability: str
) -> None:
    """Events are recorded all the same; with emit each is counted as not journaled; a line in the log says why."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = run(PLAIN, tmp_path / "runs.db", durability)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["unjournaled"] == (101 if durability == "emit" else 0)  # and session.started
    assert outcome["failures"]["journal"] >= 1
    assert done.stderr.count("Read-only file system") == 1
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(100))
    fault_report(
        fault="the journal's folder is read-only (a tmpfs)",
        promised="all is recorded; a line in the log says that a kill takes what is not committed, and at durability "
        "emit each such event is counted",
        seen={"runs": 1, "events": 101, "lost": 0, "counted as without a copy": outcome["unjournaled"]},
    )


REMOVED = """
import os, shutil, sys, time, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", journal=sys.argv[2], memory_interval_s=None)
for i in range(100):
    rec.emit("n", i=i)
assert rec.flush()
folder = sys.argv[1] + "-journal.d"
back = {name.split(".")[-1] for name in os.listdir(folder)}
shutil.rmtree(folder)
deadline = time.monotonic() + 60
def is_back():
    return os.path.isdir(folder) and {name.split(".")[-1] for name in os.listdir(folder)} == back
while not is_back():
    assert time.monotonic() < deadline
    i += 1
    rec.emit("n", i=i)
    time.sleep(0.01)
assert rec.flush()
for _ in range(5000):
    i += 1
    rec.emit("n", i=i)
stats = rec.stats()
os.write(1, b"%d" % i)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_a_folder_that_is_removed_while_it_is_used(tmp_path: Path, fault_report: Report, journal: str) -> None:
    """Within a second or two the journal is there again, and what is emitted from then on survives a kill."""
    path = tmp_path / "runs.db"
    done = run(REMOVED, path, journal)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "somebody removed" in done.stderr
    with SQLiteStore(path) as store:
        recover(store)
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(int(done.stdout) + 1))
    assert not os.path.exists(folder_of(str(path)))
    fault_report(
        fault="the journal's folder is removed while a program records at durability emit; later kill -9",
        promised="the journal is made again within seconds, and what is emitted from then on survives",
        seen={"runs": 1, "events": int(done.stdout) + 1, "lost": 0},
    )


CUT_OFF = """
import os, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", journal="disk", memory_interval_s=None)
for i in range(100):
    rec.emit("n", i=i)
assert rec.flush()
folder = sys.argv[1] + "-journal.d"
for name in os.listdir(folder):
    if name.endswith(".arena"):
        os.truncate(os.path.join(folder, name), 0)
while True:
    rec.emit("n", i=-1)
"""


def test_files_that_are_cut_off_while_they_are_used_end_the_process(tmp_path: Path, fault_report: Report) -> None:
    """The next write there is a bus error, which no Python code can catch; what was committed is safe."""
    path = tmp_path / "runs.db"
    done = run(CUT_OFF, path)
    assert done.returncode == -signal.SIGBUS, done.stderr
    with SQLiteStore(path) as store:
        found = recover(store)
        assert [event.data["i"] for event in store.read_by_type("s", "n") if event.data["i"] >= 0] == list(range(100))
        assert found.missed == sum(gap.data["missed"] for gap in store.read_by_type("s", EventType.GAP))
    assert not os.path.exists(folder_of(str(path)))
    fault_report(
        fault="the journal's files are cut off (truncate) while a program writes there",
        promised="the program ends by SIGBUS at its next emit, which nothing in Python can catch; what was committed "
        "is there, what was not is counted at most",
        seen={"runs": 1, "committed events lost": 0, "counted as missing at most": found.missed},
    )
