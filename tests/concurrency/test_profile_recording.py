"""A recorded profile outlives ``kill -9``, goes on in forked children, and holds up no exit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonde.events import EventType
from sonde.query import load_profile, read_profile
from sonde.store import SQLiteStore

TIMEOUT_S = 60
SLACK = 0.22
"""Four standard deviations of 80 samples, which is what four seconds give on a machine that has much else to do."""

# Three tools with 70, 20 and 10 % of the CPU time, again and again.
WORKING = """
import os, sys, time, sonde

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))

def parse(): burn(0.035)
def search(): burn(0.010)
def shorten(): burn(0.005)

def work(rec):
    for name, function in (("read_file", parse), ("grep", search), ("summarise", shorten)):
        with rec.tool(name):
            function()
"""

ENDLESS = (
    WORKING
    + """
rec = sonde.record(sys.argv[1], session_id="s", profile=True, profile_hz=100, profile_interval_s=0.5)
live = rec.hub.subscribe(types=["sonde.profile"])
for _ in range(8):
    while live.get(timeout_s=0) is None:
        work(rec)
assert rec.flush()
print("written", flush=True)
while True:
    work(rec)
"""
)


def test_all_buckets_but_the_last_survive_kill_9(tmp_path: Path) -> None:
    """Killed in the middle, the program has left what it saw up to then, and each sample names the right tool."""
    path = tmp_path / "runs.db"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    with SQLiteStore(path, mode="ro") as store:
        found = load_profile(store, "s")
    assert found.events >= 8
    assert (found.lost, found.omitted, found.unreadable) == (0, 0, 0)
    profile = found.profile
    assert profile.duration_ns >= 3.9e9
    total = profile.total("cpu")
    for tool, share, function in (
        ("read_file", 0.7, "parse"),
        ("grep", 0.2, "search"),
        ("summarise", 0.1, "shorten"),
    ):
        assert abs(profile.total("cpu", tool=tool) / total - share) < SLACK, (
            tool,
            profile.total("cpu", tool=tool),
            total,
        )
        inside = [one for one in profile.samples if any(frame.function == function for frame in one.stack)]
        assert {dict(one.labels)["tool"] for one in inside} <= {tool, "unknown"}
    # The whole command line, on what the killed program left.
    told = subprocess.run(
        [sys.executable, "-m", "sonde", "profile", "s", "--db", str(path), "--json"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    groups = [row for row in map(json.loads, told.stdout.splitlines()) if row["record"] == "group"]
    assert groups[0]["name"] == "read_file"
    assert abs(groups[0]["time_ratio"] - 0.7) < SLACK


FORKING = (
    WORKING
    + """
rec = sonde.record(sys.argv[1], session_id="s", profile=True, profile_hz=100, profile_interval_s=0.3)
with rec.tool("parent"):
    burn(0.2)
child = os.fork()
if child == 0:
    with rec.tool("child"):
        burn(0.5)
    rec.close()
    os._exit(0)
with rec.tool("parent"):
    burn(0.2)
assert os.waitpid(child, 0)[1] == 0
rec.close()
assert not rec.stats().failures, rec.stats().failures
"""
)


def test_a_forked_child_goes_on_under_its_own_writer(tmp_path: Path) -> None:
    """Parent and child each have their own time, none twice; the child's stacks need nothing of the parent's events."""
    path = tmp_path / "runs.db"
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read_by_type("s", EventType.PROFILE.value))
        whole = load_profile(store, "s")
    writers = {event.writer_id for event in events}
    assert len(writers) == 2
    assert whole.lost == 0
    shares = []
    for writer in writers:
        profile = read_profile([event for event in events if event.writer_id == writer])
        shares.append((profile.total("cpu", tool="parent"), profile.total("cpu", tool="child")))
        assert all(frame.function != "[stack not recorded]" for one in profile.samples for frame in one.stack)
    shares.sort()
    (nothing, of_child), (of_parent, none) = shares
    assert nothing == none == 0
    assert 0.1e9 < of_child <= 0.6e9
    assert 0.05e9 < of_parent <= 0.5e9


ENDINGS = {
    "falls off its end": "",
    "sys.exit in a tool": "with rec.tool('last'): sys.exit(3)",
    "an exception": "raise RuntimeError('boom')",
    "a busy daemon thread": (
        "import threading\nthreading.Thread(target=lambda: [work(rec) for _ in iter(int, 1)], daemon=True).start()"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_an_exit_while_profiling_does_not_hang(tmp_path: Path, ending: str) -> None:
    """However the program ends without close(), it ends soon, and its profile is in the store."""
    path = tmp_path / "runs.db"
    program = WORKING + (
        "rec = sonde.record(sys.argv[1], session_id='s', profile=True, profile_hz=200)\n"
        "for _ in range(20): work(rec)\n" + ending
    )
    began_s = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert time.monotonic() - began_s < 30
    assert "sonde" not in re.sub(r'File ".*', "", ran.stderr), ran.stderr
    with SQLiteStore(path, mode="ro") as store:
        profile = read_profile(store, "s")
    assert profile.total("samples", tool="read_file") >= 2
    assert os.path.getsize(path)
