"""Another process holds the store: it has it locked, or it was stopped in the middle of a write."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import sonde
from sonde.events import EventType
from sonde.store import SQLiteStore

LIMIT_S = 100


@pytest.mark.parametrize("held_s", [1, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.timeout(200)
def test_a_database_locked_by_another_process(tmp_path: Path, fault_report: Callable[..., None], held_s: float) -> None:
    """Events wait, emit does not, and when the lock is gone all are written, in order."""
    path = tmp_path / "runs.db"
    holder = (
        "import apsw, sys\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.readline()\n"
        "connection.execute('ROLLBACK')\n"
    )
    with sonde.record(path, session_id="s", memory_interval_s=None) as rec:
        assert rec.flush(LIMIT_S)
        process = subprocess.Popen(
            [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        until_s = time.monotonic() + held_s
        emitted = 0
        worst_s = 0.0
        while time.monotonic() < until_s:
            began_s = time.perf_counter()
            rec.emit("n", i=emitted)
            worst_s = max(worst_s, time.perf_counter() - began_s)
            emitted += 1
            if emitted % 100 == 0:
                time.sleep(0.01)
        report = rec.flush(0)
        assert report.pending >= emitted
        assert not report.dropped
        assert worst_s < 1  # who waited for the lock would wait for as long as a store does, some seconds
        process.communicate("\n")
        began_s = time.monotonic()
        assert rec.flush(LIMIT_S)
        took_s = time.monotonic() - began_s
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read("s"))
        assert not list(store.verify())
    assert [event.data["i"] for event in events if event.type == "n"] == list(range(emitted))
    assert not [event for event in events if event.type == EventType.GAP]
    fault_report(
        fault="another process holds the database locked (BEGIN EXCLUSIVE), for 1 and for 30 s",
        promised="events wait in memory, emit does not wait; when the lock is gone all are written, in order",
        seen={
            "events meanwhile": emitted,
            "lost": 0,
            "worst emit: {} ms": worst_s * 1000,
            "worst time until all was written: {} s": took_s,
        },
    )


STOPPED = """
import os, sys, apsw, sonde
rec = sonde.record(sys.argv[1], session_id="stopped", memory_interval_s=None)
i = 0
while True:
    rec.emit("n", i=i)
    i += 1
    if i == 100:
        print("begun", flush=True)
    if i % 50 == 0:
        rec.flush()
    if i == 20_000:
        rec.close()
        break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
@pytest.mark.parametrize("stops", [2, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
def test_a_writer_that_is_stopped(tmp_path: Path, fault_report: Callable[..., None], stops: int) -> None:
    """A process under SIGSTOP, maybe inside of a transaction, delays another's commits, not its emit; none is lost."""
    path = tmp_path / "runs.db"
    process = subprocess.Popen([sys.executable, "-c", STOPPED, str(path)], stdout=subprocess.PIPE, text=True)
    emitted = delayed = 0
    worst_s = 0.0
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        with sonde.record(path, session_id="other", memory_interval_s=None) as rec:
            for _ in range(stops):
                process.send_signal(signal.SIGSTOP)
                for _ in range(100):
                    began_s = time.perf_counter()
                    rec.emit("n", i=emitted)
                    worst_s = max(worst_s, time.perf_counter() - began_s)
                    emitted += 1
                delayed += not rec.flush(0.2)
                process.send_signal(signal.SIGCONT)
                assert rec.flush(LIMIT_S)
    finally:
        process.send_signal(signal.SIGCONT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert worst_s < 1  # the one that is stopped goes on when they are over
    with SQLiteStore(path, mode="ro") as store:
        assert not list(store.verify())
        for session, count in (("other", emitted), ("stopped", 20_000)):
            events = list(store.read(session))
            assert [event.data["i"] for event in events if event.type == "n"] == list(range(count))
            assert not [event for event in events if event.type == EventType.GAP]
    fault_report(
        fault="SIGSTOP of a process that records, while another one records into the same store",
        promised="the other one waits at most until the first goes on, and neither loses anything",
        seen={
            "stops": stops,
            "in the middle of a write": delayed,
            "events": emitted + 20_000,
            "lost": 0,
            "worst emit: {} ms": worst_s * 1000,
        },
    )


MANY_FILES = """
import json, os, resource, sys, logging
import sonde, sonde.store, sonde.recorder, apsw
logging.disable(logging.CRITICAL)
path = sys.argv[1]
sonde.record(path + ".first", session_id="s", memory_interval_s=None).close()  # all is loaded
rec = sonde.record(path, session_id="s", memory_interval_s=None, durability=sys.argv[2])
rec.emit("n", i=0)
assert rec.flush(60)
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
taken = []
def take():
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
take()
# One that is open writes on: what it needs it has, and where it needs more, events wait.
for i in range(1, 20_000):
    rec.emit("n", i=i)
with_none = bool(rec.flush(60))
# One that would have to be opened says what is wrong, whatever it is that it could not open.
errors = []
for left in range(0, 12):
    take()
    for _ in range(left):
        os.close(taken.pop())
    try:
        other = sonde.record(path + ".other", session_id="s", memory_interval_s=None, durability=sys.argv[2])
    except sonde.SondeError as error:
        errors.append(str(error))
    else:
        other.emit("n", i=left)
        other.close(10)
for file in taken:
    os.close(file)
rec.emit("n", i=20_000)
complete = bool(rec.flush(60))
rec.close()
print(json.dumps([with_none, complete, errors]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's limits and journal")
@pytest.mark.parametrize("durability", ["emit", pytest.param("commit", marks=pytest.mark.long)])
def test_no_more_open_files(
    tmp_path: Path, play: Callable[..., list[object]], fault_report: Callable[..., None], durability: str
) -> None:
    """At the limit of open files a recorder writes on, and one that cannot be opened says why in one line."""
    path = tmp_path / "runs.db"
    with_none, complete, errors = play(MANY_FILES, path, durability)
    assert complete
    assert isinstance(errors, list)
    assert errors
    for error in errors:
        assert "cannot" in error
        assert str(path) in error
        assert "\n" not in error
    with SQLiteStore(path, mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(20_001))
        assert not list(store.verify())
    fault_report(
        fault="the limit of open files is reached (RLIMIT_NOFILE)",
        promised="a recorder that is open goes on, or events wait; record() raises one clear line",
        seen={
            "recorders": 1,
            "that wrote on without a free handle": int(bool(with_none)),
            "attempts to open another refused": len(errors),
            "events lost": 0,
        },
    )
