"""The clock steps back and forward, by hours and by weeks, while all of sonde runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sonde.clock import ManualClock
from sonde.events import EventType
from sonde.query import load_session
from sonde.recorder import Recorder, recover
from sonde.store import Liveness, Retention, SQLiteStore

LIMIT_S = 100
TOOLS = 200

# The whole program has this clock, whichever way it asks: every seventh look finds it somewhere else within a month.
STEPPING = """
import os, random, sys, threading, time
real_time_ns, chance, looks, offset_ns = time.time_ns, random.Random(int(sys.argv[3])), 0, 0
def time_ns():
    global looks, offset_ns
    looks += 1
    if looks % 7 == 0:
        offset_ns = int(chance.choice((-1, 1)) * 10 ** chance.uniform(6, 15.4))
    return real_time_ns() + offset_ns
time.time_ns, time.time = time_ns, lambda: time_ns() / 1e9

import sonde, sonde.store
rec = sonde.record(
    sys.argv[1], session_id="s", durability="emit", metrics_interval_s=0.05, memory_interval_s=0.05,
    profile=True, profile_interval_s=0.1, retention=sonde.store.Retention(max_age_s=400 * 86_400),
)
followed = []
def follow():
    for event in rec.store.follow(sonde.Position.START):
        if event.type == "n":
            followed.append(event.data["i"])
            if event.data["i"] == int(sys.argv[2]) - 1:
                return
follower = threading.Thread(target=follow, daemon=True)
follower.start()
for i in range(int(sys.argv[2])):
    with rec.tool("step", number=i):
        rec.emit("n", i=i)
    if i % 50 == 0:
        rec.flush(60)
follower.join(60)
assert followed == list(range(int(sys.argv[2]))), len(followed)
assert rec.store.liveness(rec.hub.writer_id) is sonde.store.Liveness.ALIVE
print(rec.hub.writer_id, flush=True)
if sys.argv[4] == "kill":
    rec.flush(60)
    os.kill(os.getpid(), 9)
rec.close()
"""


def seconds(data: object) -> Iterator[float]:
    """Every number in there that is named as seconds."""
    if isinstance(data, dict):
        for name, value in data.items():
            if isinstance(value, int | float) and str(name).endswith("_s"):
                yield value
            else:
                yield from seconds(value)
    elif isinstance(data, list):
        for value in data:
            yield from seconds(value)


def told_by(path: Path, *command: str) -> Any:
    """What a command prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-m", "sonde", *command, "--json", "--db", str(path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("end", ["kill", pytest.param("close", marks=pytest.mark.long)])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")
def test_a_program_whose_clock_steps(tmp_path: Path, fault_report: Callable[..., None], seed: int, end: str) -> None:
    """Order is by version, nothing lasts less than nothing, and following, liveness and retention go on."""
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", STEPPING, str(path), str(TOOLS), str(seed), end],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0 if end == "close" else -9, ""), run.stderr[-2000:]
    with SQLiteStore(path) as store:
        recover(store)
        assert not list(store.verify())
        events = list(store.read("s"))
        assert store.liveness(run.stdout.strip()) is not Liveness.ALIVE
        session = load_session(store, "s").summary
        report = store.prune(Retention(max_age_s=400 * 86_400))
        assert not report.removals
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert [event.data["i"] for event in events if event.type == "n"] == list(range(TOOLS))
    assert not [event for event in events if event.type == EventType.GAP]
    steps = sum(after.time_ns < before.time_ns for before, after in pairwise(events))
    assert steps > 10, "the clock did not step"
    lasted = [value for event in events for value in seconds(event.data)]
    assert len(lasted) > TOOLS
    assert min(lasted) >= 0
    assert session.duration_s >= 0
    for command in (("show", "s"), *((("sessions",), ("stats",)) if seed else ())):
        assert min(seconds(told_by(path, *command)), default=0) >= 0
    fault_report(
        fault="the clock steps by up to a month, back and forward, at every seventh look",
        promised="order is by version, never by time; no duration is negative; following, liveness, metrics, profiles, "
        "retention and sonde show go on",
        seen={"runs": 1, "events": len(events), "steps back": steps, "negative durations": 0, "lost": 0},
    )


def test_an_operation_across_a_step(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """What an operation took is measured by the clock that does not step; its events keep their times as they were."""
    clock = ManualClock(time_ns=1_700_000_000 * 10**9)
    took_s = []
    with Recorder(tmp_path / "runs.db", session_id="s", clock=clock, memory_interval_s=None) as rec:
        for step_s in (-3_600, 86_400 * 365, -86_400 * 700, 0):
            with rec.tool("wait"):
                clock.advance(2.5)
                clock.set_time_ns(clock.time_ns() + step_s * 10**9)
        assert rec.flush(LIMIT_S)
        events = list(rec.store.read("s"))
        took_s = [event.data["duration_s"] for event in events if event.type == "tool.completed"]
    assert took_s == [2.5] * 4
    times = [event.time_ns for event in events if event.type.startswith("tool.")]
    assert times != sorted(times)
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        session = load_session(store, "s").summary
        assert session.duration_s >= 0
    fault_report(
        fault="the clock steps by years in the middle of an operation",
        promised="its duration is what it took",
        seen=f"{len(took_s)} steps; the operations took 2.5 s, as they did",
    )
