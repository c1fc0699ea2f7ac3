"""Faults of the disk, for real: no room, no permission, and back again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonde.events import EventType
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


def test_a_full_disk_delays_and_loses_nothing(tmp_path: Path) -> None:
    """While the disk is full events wait; when there is room again all are written, in order, and none is missing."""
    outcome = fill(tmp_path / "runs.db", 256 * 1024 * 1024)
    assert outcome["pending_when_full"]
    assert "cannot append" in str(outcome["error"])
    assert outcome["retries"]
    assert (outcome["complete"], outcome["pending"], outcome["dropped"]) == (True, 0, 0)
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(20_000))
        assert len(list(store.read_by_type("s", "after"))) == 1


def test_a_full_disk_past_the_bound_leaves_a_counted_gap(tmp_path: Path) -> None:
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
