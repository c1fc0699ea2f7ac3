"""Fork and multiprocessing: every process records its own events, once, under its own writer, and none hangs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from sonde.events import RecordedEvent
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PATIENCE_S = 60


def run(folder: Path, program: str, *arguments: object, timeout_s: float = 110) -> str:
    """Run a program, from a file, as ``spawn`` wants it; returns what it printed."""
    script = folder / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def stored(path: Path) -> list[RecordedEvent]:
    """The session's events; versions are contiguous, and nothing is there twice."""
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read("s"))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert len({(event.writer_id, event.seq) for event in events}) == len(events)
    return events


def by_process(events: list[RecordedEvent]) -> dict[str, list[int]]:
    """Of each process the numbers of its events, in order; each has one writer, and each writer one process."""
    numbers: dict[str, list[int]] = defaultdict(list)
    pairs = set()
    for event in events:
        if event.type == "n":
            numbers[event.data["who"]].append(event.data["i"])
            pairs.add((event.data["who"].partition("/")[0], event.writer_id))
    assert len({who for who, _ in pairs}) == len({writer for _, writer in pairs}) == len(pairs)
    return numbers


FORKING = """
import os, select, signal, sys, threading, time
import sonde

path, forks, durability = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rec = sonde.record(path, session_id="s", durability=durability, profile=True, memory_interval_s=None)
is_over = threading.Event()
published = [0, 0, 0]

def publish(thread):
    while not is_over.is_set():
        for _ in range(5):
            rec.emit("n", who=f"parent/{thread}", i=published[thread])
            published[thread] += 1
        if thread == 0:
            rec.flush(60)
        with rec.tool("work"):
            time.sleep(0.001)

def in_child(act, number):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            act(number)
            code = 0
        finally:
            os.write(writer, b"x")
            os._exit(code)
    os.close(writer)
    if not select.select([reader], [], [], 60)[0]:
        os.kill(pid, signal.SIGABRT)
        raise SystemExit(f"child {number} hangs")
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    assert status == 0, (number, status)

def child(number):
    for i in range(50):
        rec.emit("n", who=f"child-{number}", i=i)
    if number % 5 == 0:
        assert rec.flush(60)
        in_child(grandchild, number)
        for i in range(50, 60):
            rec.emit("n", who=f"child-{number}", i=i)
    assert rec.close(60)

def grandchild(number):
    for i in range(20):
        rec.emit("n", who=f"grandchild-{number}", i=i)
    assert rec.close(60)

threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(3)]
for thread in threads:
    thread.start()
try:
    for number in range(forks):
        in_child(child, number)
finally:
    is_over.set()
    for thread in threads:
        thread.join()
assert rec.close(60)
print(*published)
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("forks", "durability"),
    [
        (15, "commit"),
        pytest.param(200, "commit", marks=pytest.mark.long),
        pytest.param(200, "emit", marks=pytest.mark.long),
    ],
)
def test_forks_while_three_threads_publish(tmp_path: Path, forks: int, durability: str) -> None:
    """Parent, children and grandchildren record exactly what they published, each once; the parent's queue stays his.

    The parent's threads publish, flush and open operations at the fork, and the profiler looks on; nothing deadlocks.
    """
    path = tmp_path / "runs.db"
    published = map(int, run(tmp_path, FORKING, path, forks, durability, timeout_s=590).split())
    events = stored(path)
    wanted = {f"parent/{thread}": list(range(count)) for thread, count in enumerate(published)}
    for number in range(forks):
        wanted[f"child-{number}"] = list(range(60 if number % 5 == 0 else 50))
        if number % 5 == 0:
            wanted[f"grandchild-{number}"] = list(range(20))
    assert by_process(events) == wanted
    assert [event.type for event in events if event.type.startswith("session.")] == ["session.started", "session.ended"]
    assert not [event for event in events if event.type == "sonde.gap"]


CHILD = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
import sonde

path, method, how = sys.argv[1:]
inherited = None

def recorder():
    if inherited is not None:  # by fork; elsewhere each worker opens its own, into the same session
        return inherited
    if "own" not in globals():
        globals()["own"] = sonde.record(path, session_id="s")
    return own

def work(number):
    for i in range(100):
        recorder().emit("n", who=f"{os.getpid()}/{number}", i=i)
    return number

if __name__ == "__main__":
    context = multiprocessing.get_context(method)
    rec = sonde.record(path, session_id="s")
    if method == "fork":
        inherited = rec
    for i in range(100):
        rec.emit("n", who="parent", i=i)
    if how == "Process":
        workers = [context.Process(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
    elif how == "Pool":
        with context.Pool(2) as pool:
            assert pool.map(work, range(4), chunksize=1) == [0, 1, 2, 3]
            pool.close()
            pool.join()
    else:
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(work, range(4))) == [0, 1, 2, 3]
    for i in range(100, 200):
        rec.emit("n", who="parent", i=i)
    assert rec.close()
"""

HOWS = ("Process", "Pool", "ProcessPoolExecutor")
QUICK = (("fork", "Pool"), ("fork", "ProcessPoolExecutor"), ("spawn", "Process"))


@pytest.mark.parametrize(
    ("method", "how"),
    [
        pytest.param(method, how, marks=[] if (method, how) in QUICK else pytest.mark.long)
        for method in multiprocessing.get_all_start_methods()
        for how in HOWS
    ],
)
def test_workers_record_each_its_own(tmp_path: Path, method: str, how: str) -> None:
    """However workers are started, what they recorded is written by the time they have ended."""
    path = tmp_path / "runs.db"
    run(tmp_path, CHILD, path, method, how)
    numbers = by_process(stored(path))
    assert numbers.pop("parent") == list(range(200))
    assert sorted(who.partition("/")[2] for who in numbers) == ["0", "1", "2", "3"]
    assert all(found == list(range(100)) for found in numbers.values())


SUBPROCESSES = """
import os, subprocess, sys, threading
import sonde

rec = sonde.record(sys.argv[1], session_id="s", durability="emit")
is_over = threading.Event()
published = [0, 0]

def publish(thread):
    while not is_over.wait(0.0005):
        rec.emit("n", who=f"parent/{thread}", i=published[thread])
        published[thread] += 1

threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(2)]
for thread in threads:
    thread.start()
command = [sys.executable, "-S", "-c", "import os; print(sorted(os.listdir('/proc/self/fd')))"]
for number in range(int(sys.argv[2])):
    for options in (
        {}, {"close_fds": False}, {"preexec_fn": os.setsid}, {"preexec_fn": lambda: rec.emit("n", who="x", i=0)}
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
        # stdin, stdout, stderr, and the listing's own: no descriptor of ours
        assert (done.returncode, done.stdout) == (0, "['0', '1', '2', '3']\\n"), (options, done)
    assert os.system("exit 3") == 3 << 8
is_over.set()
for thread in threads:
    thread.join()
assert rec.close()
print(*published)
"""


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.long)])
def test_subprocesses_inherit_nothing_and_change_nothing(tmp_path: Path, rounds: int) -> None:
    """``subprocess`` with and without ``preexec_fn`` and ``close_fds``: no descriptor leaks, no event is lost.

    What is emitted between fork and exec is gone with the memory that it was in: that is not for recording.
    """
    path = tmp_path / "runs.db"
    published = map(int, run(tmp_path, SUBPROCESSES, path, rounds).split())
    numbers = by_process(stored(path))
    assert numbers == {f"parent/{thread}": list(range(count)) for thread, count in enumerate(published)}


LOCKED = """
import logging, os, select, subprocess, sys
import apsw
import sonde, sonde.store.opener, sonde.store.forking

sonde.store.forking.MAX_WAIT_S, sonde.store.opener.open.__kwdefaults__["busy_timeout_s"] = map(float, sys.argv[2:])
logging.getLogger("sonde").setLevel(logging.CRITICAL)  # that a write is tried again is told in time, or not
rec = sonde.record(sys.argv[1], session_id="s")
assert rec.flush()
locker = subprocess.Popen(
    [sys.executable, "-c", "import apsw, sys; c = apsw.Connection(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print(1);"
     "sys.stdout.flush(); sys.stdin.read()", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
locker.stdout.readline()
for i in range(100):
    rec.emit("n", who="parent", i=i)
reader, writer = os.pipe()
pid = os.fork()
if not pid:
    for i in range(100):
        rec.emit("n", who="child", i=i)
    os.write(writer, b"x")
    os._exit(0 if rec.close(60) else 1)
assert select.select([reader], [], [], 60)[0]
locker.kill()  # the lock goes when both have begun to wait for it
_, status = os.waitpid(pid, 0)
assert status == 0, status
assert rec.close(60)
"""


@pytest.mark.parametrize(("fork_s", "busy_s"), [(5, 0.5), pytest.param(0.5, 120, marks=pytest.mark.long)])
def test_a_fork_while_the_store_is_locked_goes_on(tmp_path: Path, fork_s: float, busy_s: float) -> None:
    """Forked while a write of the parent waits for another program's lock, both write once the lock is gone.

    Whether that write gives up before the fork does, or the fork goes on without it.
    """
    path = tmp_path / "runs.db"
    run(tmp_path, LOCKED, path, fork_s, busy_s)
    assert by_process(stored(path)) == {"parent": list(range(100)), "child": list(range(100))}
