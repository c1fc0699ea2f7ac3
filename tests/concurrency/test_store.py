"""Many threads and processes on one store, killed and forked: versions stay contiguous, nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sonde.errors import StoreNotFoundError
from sonde.events import Event, Position
from sonde.store import Liveness, Record, SQLiteStore

WRITER = """
import sys, time
from sonde.events import Event
from sonde.store import Record, SQLiteStore
path, writer, count, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = SQLiteStore(path, busy_timeout_s=60)
store.register_writer(writer)
print("ready", flush=True)
sys.stdin.readline()
seq = 0
while seq < count:
    records = [Record("shared" if n % 2 else writer, writer, n, Event("test.done", time.time_ns(), data={"n": n}))
               for n in range(seq + 1, seq + 1 + batch)]
    seq += batch
    store.append_batch(records)
    print(seq, flush=True)
store.close()
"""

FOLLOWER = """
import sys, json
from sonde.events import Position
from sonde.store import SQLiteStore
store = SQLiteStore(sys.argv[1], mode="ro")
seen = []
print("ready", flush=True)
for event in store.follow(Position.START, timeout_s=60):
    if event.type == "test.stop":
        break
    seen.append([event.writer_id, event.seq, event.position.value])
store.close()
print(json.dumps(seen), flush=True)
"""

LATENCY = """
import sys, time
from sonde.store import SQLiteStore
store = SQLiteStore(sys.argv[1], mode="ro")
following = store.follow(timeout_s=60)
print("ready", flush=True)
for event in following:
    print(event.version, time.monotonic_ns() - event.data["monotonic_ns"], flush=True)
    if event.type == "test.stop":
        break
store.close()
"""

Child = subprocess.Popen[str]


def child(script: str, *arguments: object) -> Child:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert line(process) == "ready"
    return process


def line(process: Child) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: Child) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def output(process: Child) -> str:
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    return out


def assert_sound(store: SQLiteStore) -> None:
    """Versions contiguous in each stream, positions growing, checksums right."""
    for info in store.streams():
        versions = [event.version for event in store.read(info.stream_id)]
        assert versions == list(range(1, info.last_version + 1))
    positions = [event.position for event in store.read_all()]
    assert positions == sorted(set(positions))
    assert list(store.verify()) == []


@pytest.mark.parametrize("place", ["file", ":memory:"])
def test_threads_share_a_store(tmp_path: Path, place: str) -> None:
    """8 threads append, others read and follow: all is there once, contiguous, each thread's in its order."""
    store = SQLiteStore(place if place == ":memory:" else tmp_path / "e.db", busy_timeout_s=60)
    errors: list[BaseException] = []
    followed: list[tuple[str, int]] = []

    def write(number: int) -> None:
        try:
            for seq in range(1, 101):
                event = Event("test.done", 1, data={"n": seq})
                store.append_batch(
                    [
                        Record("shared", f"w-{number}", seq, event),
                        Record(f"s-{number}", "x", -seq - 1000 * number, event),
                    ]
                )
                if seq % 20 == 0:
                    assert [e.seq for e in store.read("shared") if e.writer_id == f"w-{number}"] == list(
                        range(1, seq + 1)
                    )
        except BaseException as error:  # noqa: BLE001 - the main thread reports it
            errors.append(error)

    def watch() -> None:
        for event in store.follow(Position.START, timeout_s=60):
            followed.append((event.writer_id, event.seq))
            if len(followed) == 1_600:
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    threads.append(threading.Thread(target=watch))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert store.head("shared") == 800
    assert followed == [(event.writer_id, event.seq) for event in store.read_all()]
    assert_sound(store)
    store.close()


def test_processes_share_a_file(tmp_path: Path) -> None:
    """4 processes write while a fifth follows: it sees each event exactly once, in order of commit."""
    path = tmp_path / "e.db"
    with SQLiteStore(path, busy_timeout_s=60) as store:
        follower = child(FOLLOWER, path)
        writers = [child(WRITER, path, f"w-{number}", 2_000, 40) for number in range(4)]
        for writer in writers:
            go(writer)
        for writer in writers:
            output(writer)
        store.append("end", [Event("test.stop", 1)])
        seen = json.loads(output(follower))
        assert store.head("shared") == 4_000
        stored = [[e.writer_id, e.seq, e.position.value] for e in store.read_all() if e.type != "test.stop"]
        assert len(stored) == 8_000
        assert seen == stored
        assert_sound(store)
    assert os.listdir(tmp_path) == ["e.db"]


def test_processes_make_the_same_file(tmp_path: Path) -> None:
    """Who opens a store that others are just making finds one, not half of one."""
    script = """
import sys
from sonde.events import Event
from sonde.store import SQLiteStore
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    with SQLiteStore(f"{sys.argv[1]}/{number}/e.db", busy_timeout_s=60) as store:
        store.append("s", [Event("a.b", 1)])
"""
    children = [child(script, tmp_path) for _ in range(4)]
    for process in children:
        go(process)
    for process in children:
        output(process)
    for number in range(10):
        with SQLiteStore(tmp_path / str(number) / "e.db", mode="ro") as store:
            assert [event.version for event in store.read("s")] == [1, 2, 3, 4]


def test_a_follower_elsewhere_hears_soon(tmp_path: Path) -> None:
    """An idle follower in another process sees a commit within 250 ms; a loaded machine gets a second."""
    with SQLiteStore(tmp_path / "e.db") as store:
        follower = child(LATENCY, tmp_path / "e.db")
        delays_ns = []
        for number in range(1, 9):
            kind = "test.stop" if number == 8 else "test.done"
            store.append("s", [Event(kind, 1, data={"monotonic_ns": time.monotonic_ns()})])
            version, delay_ns = map(int, line(follower).split())
            assert version == number
            delays_ns.append(delay_ns)
        output(follower)
    assert sorted(delays_ns)[len(delays_ns) // 2] < 250_000_000
    assert max(delays_ns) < 1_000_000_000


@pytest.mark.parametrize("round_number", range(3))
def test_a_killed_writer_leaves_a_sound_store(tmp_path: Path, round_number: int) -> None:
    """``kill -9`` amid appends: what was acknowledged is there, nothing is half there, and the writer is known dead."""
    path = tmp_path / "e.db"
    writer = child(WRITER, path, "w-1", 10_000_000, 50)
    go(writer)
    acknowledged = [int(line(writer)) for _ in range(20 + 30 * round_number)][-1]
    writer.send_signal(signal.SIGKILL)
    assert writer.stdout is not None
    rest = writer.stdout.read()  # through the same buffer as the lines before, which communicate() goes past
    writer.communicate(timeout=30)
    acknowledged = max([acknowledged, *(int(said) for said in rest.split("\n")[:-1])])
    with SQLiteStore(path) as store:
        assert store.liveness("w-1") is Liveness.DEAD
        seqs = sorted(event.seq for event in store.read_all())
        assert seqs == list(range(1, len(seqs) + 1))
        assert acknowledged <= len(seqs) <= acknowledged + 50
        assert len(seqs) % 50 == 0
        assert_sound(store)
        again = [Record("shared", "w-1", seq, Event("test.done", 1)) for seq in range(1, len(seqs) + 2)]
        assert store.append_batch(again).duplicates == len(seqs)


def in_a_fork(work: object) -> str:
    """Run ``work`` in a forked child that ends as scripts do; gives what it returned, or how it failed."""
    assert callable(work)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(work())
        except BaseException as error:  # noqa: BLE001 - the parent reports it
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def test_a_fork_opens_anew(tmp_path: Path) -> None:
    """Parent and child go on writing and reading, as different writers, and neither closes the other's store."""
    with SQLiteStore(tmp_path / "e.db") as store:
        store.append("s", [Event("a.b", 1)])
        reader = store.read("s")

        def work() -> list[int]:
            for _ in range(10):
                store.append("s", [Event("child.wrote", 1)])
            versions = [event.version for event in reader]
            store.close()
            return versions

        assert in_a_fork(work) == str(list(range(1, 12)))
        store.append("s", [Event("a.b", 1)])
        assert store.head("s") == 12
        assert len({event.writer_id for event in store.read("s")}) == 2
        assert_sound(store)
    assert os.listdir(tmp_path) == ["e.db"]


def test_a_fork_amid_threads(tmp_path: Path) -> None:
    """Whatever lock another thread held at the fork, the child is not stuck."""
    with SQLiteStore(tmp_path / "e.db", busy_timeout_s=30) as store:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                store.append("noise", [Event("a.b", 1)])
                store.head("noise")

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        said = [
            in_a_fork(lambda number=number: store.append(f"s-{number}", [Event("a.b", 1)]).last_version)
            for number in range(10)
        ]
        stop.set()
        for thread in threads:
            thread.join(30)
        assert said == ["1"] * 10
        assert_sound(store)


def test_a_fork_outlives_its_parents_store(tmp_path: Path) -> None:
    """A child goes on when the parent has closed: nobody removes the log that it writes to."""
    store = SQLiteStore(tmp_path / "e.db")
    store.append("s", [Event("a.b", 1)])
    closed_reading, closed_writing = os.pipe()

    def work() -> int:
        version = store.append("s", [Event("a.b", 2)]).last_version
        os.write(ready_writing, b"x")
        os.close(closed_writing)
        os.read(closed_reading, 1)
        return version + store.append("s", [Event("a.b", 3)]).last_version

    ready_reading, ready_writing = os.pipe()
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(in_a_fork(work)))
    thread.start()
    os.read(ready_reading, 1)
    store.close()
    with SQLiteStore(tmp_path / "e.db") as other:
        other.append("s", [Event("a.b", 2)])
    os.close(closed_writing)
    thread.join(30)
    for handle in (closed_reading, ready_reading, ready_writing):
        os.close(handle)
    assert said == ["6"]
    with SQLiteStore(tmp_path / "e.db") as after:
        assert [event.time_ns for event in after.read("s")] == [1, 2, 2, 3]
        assert_sound(after)


def test_a_fork_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    """A child that outlives the recording process holds no lock of it."""
    script = """
import os, sys
from sonde.store import SQLiteStore
store = SQLiteStore(sys.argv[1])
store.register_writer("w")
if os.fork() == 0:
    print("ready", flush=True)
    sys.stdin.readline()
    os._exit(0)
os.kill(os.getpid(), 9)
"""
    with SQLiteStore(tmp_path / "e.db") as store:
        process = child(script, tmp_path / "e.db")
        assert process.wait(30) == -signal.SIGKILL
        assert store.liveness("w") is Liveness.DEAD
        go(process)
        process.communicate(timeout=30)


def test_a_forked_memory_store_is_empty() -> None:
    """A store in memory is the process's own; the child's begins anew, and the parent's stays."""
    with SQLiteStore(":memory:") as store:
        store.append("s", [Event("a.b", 1)])
        assert in_a_fork(lambda: (store.head("s"), store.append("s", [Event("a.b", 1)]).last_version)) == "(0, 1)"
        assert store.head("s") == 1


def test_a_file_that_is_just_being_made_is_never_foreign(tmp_path: Path) -> None:
    """Whoever opens a file at any moment of its making finds nothing yet, or a store."""
    for number in range(60):
        path = tmp_path / f"{number}.db"
        maker = threading.Thread(target=lambda path=path: SQLiteStore(path).close())
        maker.start()
        while True:
            try:
                SQLiteStore(path, mode="ro").close()
                break
            except StoreNotFoundError:
                continue
        maker.join()


def test_following_is_interrupted_by_ctrl_c(tmp_path: Path) -> None:
    """A main thread that waits for events answers to SIGINT at once."""
    script = """
import sys
from sonde.store import SQLiteStore
store = SQLiteStore(sys.argv[1])
try:
    print("ready", flush=True)
    for _ in store.follow():
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
store.close()
"""
    process = child(script, tmp_path / "e.db")
    process.send_signal(signal.SIGINT)
    assert output(process).strip() == "interrupted"
