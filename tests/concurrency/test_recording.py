"""Recording from end to end under load: many threads, many processes, a storm of Ctrl-C, and kill -9."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import sonde
from sonde.events import EventType
from sonde.store import Liveness, SQLiteStore

LONG = os.environ.get("SONDE_TEST_LONG") == "1"


def rows_and_gaps(store: SQLiteStore, session_id: str, event_type: str = "n") -> tuple[int, int]:
    """Events of the test's type, and what the gaps in the stream say is missing; versions must be contiguous."""
    rows = missed = 0
    for version, event in enumerate(store.read(session_id), start=1):
        assert event.version == version
        if event.type == event_type:
            rows += 1
        elif event.type == EventType.GAP:
            missed += event.data["missed"]
    return rows, missed


def test_eight_threads_lose_nothing(tmp_path: Path) -> None:
    """8 threads x 100,000 events: rows plus gaps are 800,000, in each thread's order, and the ledger balances."""
    threads, each = 8, 100_000
    with sonde.record(tmp_path / "runs.db", session_id="s", memory_interval_s=None) as rec:  # no events but ours

        def publish(thread: int) -> None:
            for i in range(each):
                rec.emit("n", thread=thread, i=i)

        workers = [threading.Thread(target=publish, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        rec.flush()
        stats = rec.stats()
    assert stats.hub.published == threads * each + 1
    assert stats.pending == 0
    assert stats.committed + sum(stats.dropped.values()) == threads * each + 1
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        rows, missed = rows_and_gaps(store, "s")
        assert rows + missed == threads * each
        assert missed == sum(stats.dropped.values())
        last = dict.fromkeys(range(threads), -1)
        for event in store.read_by_type("s", "n"):
            thread = event.data["thread"]
            assert event.data["i"] > last[thread]
            last[thread] = event.data["i"]


def test_a_small_bound_drops_and_says_so(tmp_path: Path) -> None:
    """With little memory allowed, eight threads overrun the writer: rows plus gaps are still all that was published."""
    threads, each = 8, 10_000
    with sonde.record(tmp_path / "runs.db", session_id="s", max_pending_bytes=1_000_000) as rec:

        def publish() -> None:
            for i in range(each):
                rec.emit("n", i=i)

        workers = [threading.Thread(target=publish) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        rec.flush()
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        rows, missed = rows_and_gaps(store, "s")
        # session.ended may be among the missed
        assert rows + missed in (threads * each, threads * each + 1)
        assert missed > 0


@pytest.mark.parametrize("count", [3000 if LONG else 600])
def test_interrupts_lose_nothing(tmp_path: Path, count: int) -> None:
    """KeyboardInterrupts at random points of publishing threads lose nothing for which emit had returned.

    The surplus is at most the number of interrupts, and delivery goes on.
    """
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    returned: Counter[int] = Counter()
    interrupted: Counter[int] = Counter()
    is_over = threading.Event()
    rng = random.Random(20261122)
    gc.disable()  # an interrupt that falls into a callback of the collector is lost, and pytest complains of it
    with sonde.record(tmp_path / "runs.db", session_id="s", max_pending_bytes=2**30) as rec:

        def publish(thread: int) -> None:
            i = 0
            while True:
                try:
                    while not is_over.is_set():
                        rec.emit("n", thread=thread, i=i)
                        i += 1  # if the interrupt falls between the two, the event is surplus
                        if i % 50 == 0:
                            time.sleep(0)  # let the others run
                    break
                except KeyboardInterrupt:
                    interrupted[thread] += 1
            returned[thread] = i

        def resistant(thread: int) -> None:
            while True:
                try:
                    publish(thread)
                    return
                except KeyboardInterrupt:
                    interrupted[thread] += 1

        workers = [threading.Thread(target=resistant, args=(thread,)) for thread in range(4)]
        for worker in workers:
            worker.start()
        for _ in range(count):
            worker = rng.choice(workers)
            raise_in(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(KeyboardInterrupt))
            time.sleep(rng.random() * 0.001)
        is_over.set()
        for worker in workers:
            worker.join()
        gc.enable()
        rec.emit("after")
        assert rec.flush()
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        stored = Counter(event.data["thread"] for event in store.read_by_type("s", "n"))
        distinct = {(event.data["thread"], event.data["i"]) for event in store.read_by_type("s", "n")}
        assert len(list(store.read_by_type("s", "after"))) == 1
    assert sum(interrupted.values()) > count / 4, "the interrupts must have come through to mean anything"
    for thread in range(4):
        for i in range(returned[thread]):
            assert (thread, i) in distinct
        assert stored[thread] - returned[thread] <= interrupted[thread]


CTRL_C = """
import signal, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", max_pending_bytes=2**30)
returned = interrupts = 0
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
wanted = int(sys.argv[2])
def run():
    global returned, interrupts
    while interrupts < wanted:
        try:
            while interrupts < wanted:
                rec.emit("n", i=returned)
                returned += 1
        except KeyboardInterrupt:
            interrupts += 1
while True:
    try:
        run()
        signal.setitimer(signal.ITIMER_REAL, 0)
        break
    except KeyboardInterrupt:
        interrupts += 1
rec.emit("after")
report = rec.close()
assert report, report
print(returned, interrupts)
"""


@pytest.mark.parametrize("count", [3000 if LONG else 1000])
def test_a_storm_of_ctrl_c_in_the_main_thread(tmp_path: Path, count: int) -> None:
    """The same with real signals whose handler raises in the main thread while it publishes."""
    run = subprocess.run(
        [sys.executable, "-c", CTRL_C, str(tmp_path / "runs.db"), str(count)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    returned, interrupts = map(int, run.stdout.split())
    with SQLiteStore(tmp_path / "runs.db", mode="ro") as store:
        numbers = [event.data["i"] for event in store.read_by_type("s", "n")]
        assert len(list(store.read_by_type("s", "after"))) == 1
    assert interrupts >= count
    assert set(range(returned)) <= set(numbers)
    assert returned <= len(numbers) <= returned + interrupts


WRITER = """
import sys, sonde
path, session, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with sonde.record(path, session_id=session) as rec:
    for i in range(count):
        rec.emit("n", process=session, i=i)
    report = rec.flush()
    assert report, report
"""


def test_four_processes_share_a_file(tmp_path: Path) -> None:
    """4 processes x 50,000 events into one session of one file: all are there, versions and positions in order."""
    each = 50_000
    path = tmp_path / "runs.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER.replace("process=session", f"process={n}"), str(path), "s", str(each)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for writer in writers:
        _, stderr = writer.communicate(timeout=110)
        assert (writer.returncode, stderr) == (0, "")
    with SQLiteStore(path, mode="ro") as store:
        assert rows_and_gaps(store, "s") == (4 * each, 0)
        last = dict.fromkeys(range(4), -1)
        position = None
        for event in store.read_all(types=["n"]):
            assert event.data["i"] == last[event.data["process"]] + 1
            last[event.data["process"]] += 1
            assert position is None or position < event.position
            position = event.position


ENDLESS = """
import sys, sonde
rec = sonde.record(sys.argv[1], session_id="s")
i = 0
while True:
    with rec.tool("work", i=i):
        rec.emit("n", i=i)
    i += 1
    if i % 100 == 0:
        assert rec.flush()
        print(i, flush=True)
"""


@pytest.mark.parametrize("round_number", range(10 if LONG else 3))
def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path, round_number: int) -> None:
    """After kill -9 everything that flush acknowledged is in the file, in order, and the writer is known to be dead."""
    path = tmp_path / "runs.db"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = 0
        for _ in range(3 + 4 * round_number):
            acknowledged = int(writer.stdout.readline())
        with SQLiteStore(path, mode="ro") as store:
            (started,) = store.read("s", limit=1)
            assert store.liveness(started.writer_id) == Liveness.ALIVE
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    with SQLiteStore(path, mode="ro") as store:
        numbers = [event.data["i"] for event in store.read_by_type("s", "n")]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= acknowledged
        assert store.liveness(started.writer_id) == Liveness.DEAD
    with sonde.record(path, session_id="s") as rec:
        rec.emit("again")
    with SQLiteStore(path, mode="ro") as store:
        rows_and_gaps(store, "s")


FORKING = """
import os, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s")
for i in range(1000): rec.emit("n", who="parent", i=i)
pid = os.fork()
if pid == 0:
    for i in range(500): rec.emit("n", who="child", i=i)
    report = rec.close()
    os._exit(0 if report else 1)
for i in range(1000, 2000): rec.emit("n", who="parent", i=i)
_, status = os.waitpid(pid, 0)
assert status == 0, status
assert rec.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_records_under_its_own_writer(tmp_path: Path) -> None:
    """Parent and child record on, each its own events once; the child's close does not end the parent's session."""
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read("s"))
    by_writer: dict[str, list[tuple[str, int]]] = {}
    for event in events:
        if event.type == "n":
            by_writer.setdefault(event.writer_id, []).append((event.data["who"], event.data["i"]))
    assert sorted(by_writer.values()) == [[("child", i) for i in range(500)], [("parent", i) for i in range(2000)]]
    assert [event.type for event in events if event.type.startswith("session.")] == ["session.started", "session.ended"]


WORKING = """
import multiprocessing, sys
import sonde

def inherited(number):
    rec.emit("n", worker=number)

def own(path, number):
    sonde.record(path, session_id=f"own-{number}").emit("n", worker=number)

if __name__ == "__main__":
    path, method = sys.argv[1:]
    context = multiprocessing.get_context(method)
    if method == "fork":
        rec = sonde.record(path, session_id="s")
        workers = [context.Process(target=inherited, args=(number,)) for number in range(4)]
    else:
        workers = []
    workers += [context.Process(target=own, args=(path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_what_a_worker_records_is_written_at_its_end(tmp_path: Path, method: str) -> None:
    """``multiprocessing`` ends workers past ``atexit``: what they recorded is written, and their own sessions end."""
    path = tmp_path / "runs.db"
    (tmp_path / "working.py").write_text(WORKING)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "working.py"), str(path), method],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    with SQLiteStore(path, mode="ro") as store:
        if method == "fork":
            events = list(store.read("s"))
            assert sorted(event.data["worker"] for event in events if event.type == "n") == [0, 1, 2, 3]
            assert sum(event.type == "session.ended" for event in events) == 1
        for number in range(2):
            assert [event.type for event in store.read(f"own-{number}")] == ["session.started", "n", "session.ended"]
