"""kill -9: with durability ``emit`` nothing whose ``emit`` had returned is lost; at every level the loss is known."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import sonde
from sonde.events import EventType
from sonde.journal import folder_of
from sonde.recorder.recovery import Recovery, pending, recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

# Acknowledgements go to the parent through a pipe, a byte or a line each: what is in a pipe survives its writer.
ENDLESS = """
import os, sys, threading, sonde
path, session, durability, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
journal = "disk" if "disk" in sys.argv else "memory"
rec = sonde.record(path, session_id=session, durability=durability, journal=journal, memory_interval_s=None)
def work(thread):
    i = 0
    while True:
        rec.emit("n", thread=thread, i=i)
        os.write(1, b"%d %d\\n" % (thread, i))
        i += 1
for thread in range(threads - 1):
    threading.Thread(target=work, args=(thread,), daemon=True).start()
work(threads - 1)
"""

BURST = """
import os, sys, time, sonde
path, session, durability, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
journal = "disk" if "disk" in sys.argv else "memory"
rec = sonde.record(path, session_id=session, durability=durability, journal=journal, memory_interval_s=None)
for i in range(count):
    rec.emit("n", i=i, secret="sk-ant-REDACTED-ABCDEFGHIJKLMNOPQRSTUVWX")
if "idle" in sys.argv:
    assert rec.flush()
    time.sleep(1)
os.kill(os.getpid(), 9)
"""


def start(source: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", source, *map(str, arguments)], stdout=subprocess.PIPE)


def killed_burst(path: Path, durability: str, count: int, *more: str) -> None:
    run = subprocess.run([sys.executable, "-c", BURST, str(path), "s", durability, str(count), *more], check=False)
    assert run.returncode == -signal.SIGKILL


def acknowledged(process: subprocess.Popen[bytes], lines: int) -> set[tuple[int, int]]:
    """Let it acknowledge so many events, kill it, and give all that it acknowledged."""
    assert process.stdout is not None
    found = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    found += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return {(int(thread), int(i)) for thread, i in (line.split() for line in found if line.endswith(b"\n"))}


def stored(path: Path, session: str = "s") -> list[tuple[int, int]]:
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read(session))
        assert [event.version for event in events] == list(range(1, len(events) + 1))
    return [(event.data["thread"], event.data["i"]) for event in events if event.type == "n"]


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 200))])
def test_what_was_acknowledged_is_there(tmp_path: Path, seed: int) -> None:
    """Killed at a random moment, with one to three threads: no acknowledged event is lost, none is there twice."""
    rng = random.Random(seed)
    path = tmp_path / "runs.db"
    process = start(ENDLESS, path, "s", "emit", rng.randint(1, 3), "disk" if seed % 2 else "memory")
    known = acknowledged(process, int(10 ** rng.uniform(0, 4)))
    sonde.record(path, session_id="next", memory_interval_s=None).close()
    found = stored(path)
    assert len(found) == len(set(found))
    assert known <= set(found)
    for thread in {thread for thread, _ in found}:  # each thread's in order, without a hole
        numbers = [i for other, i in found if other == thread]
        assert sorted(numbers) == list(range(len(numbers)))
    with SQLiteStore(path, mode="ro") as store:
        assert not list(store.read_by_type("s", EventType.GAP))
    assert not os.path.exists(folder_of(str(path)))


def test_the_events_of_two_killed_writers_are_taken_in_while_a_third_lives(tmp_path: Path) -> None:
    """Recovery takes what the dead left and leaves the living alone, however often it runs."""
    path = tmp_path / "runs.db"
    first, second, alive = (start(ENDLESS, path, session, "emit", 1) for session in ("a", "b", "alive"))
    assert alive.stdout is not None
    alive.stdout.readline()
    known = {"a": acknowledged(first, 2000), "b": acknowledged(second, 500)}
    with SQLiteStore(path) as store:
        recover(store)
        assert recover(store).writers == 0
        assert pending(store).writers == 0
    for session, events in known.items():
        found = stored(path, session)
        assert len(found) == len(set(found))
        assert events <= set(found)
    last = acknowledged(alive, 10)
    sonde.record(path, session_id="next").close()
    assert last <= set(stored(path, "alive"))


@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_what_is_taken_in_is_redacted_and_said_beforehand(
    tmp_path: Path, journal_files: Callable[[Path], list[Path]], journal: str
) -> None:
    """Secrets lie in the journal, mode 0600, and not in the store; who only reads is told how many events wait."""
    path = tmp_path / "runs.db"
    killed_burst(path, "emit", 3000, journal)
    assert Path(folder_of(str(path))).stat().st_mode & 0o777 == 0o700
    files = journal_files(path)
    assert b"sk-ant-" in b"".join(file.read_bytes() for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    with SQLiteStore(path, mode="ro") as store:
        waiting = pending(store)
        before = len(list(store.read_by_type("s", "n")))
        assert (waiting.writers, waiting.missed) == (1, 0)
        assert before + waiting.events in (3000, 3001)  # session.started may wait, too
        assert pending(store) == waiting
    with SQLiteStore(path) as store:
        assert recover(store).events == waiting.events
        events = list(store.read_by_type("s", "n"))
    assert [event.data["i"] for event in events] == list(range(3000))
    assert {event.data["secret"] for event in events} == {"[REDACTED:secret]"}
    assert not any(file.exists() for file in files)


def test_two_openers_take_it_in_once(tmp_path: Path) -> None:
    """Several processes that open the store at once: one of them takes the events in, and each is there once."""
    path = tmp_path / "runs.db"
    killed_burst(path, "emit", 5000)
    opener = "import sonde, sys; sonde.record(sys.argv[1], session_id=sys.argv[2]).close()"
    openers = [start(opener, path, f"opener-{n}") for n in range(3)]
    for process in openers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with SQLiteStore(path, mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("s", "n")] == list(range(5000))


@pytest.mark.parametrize("count", [3, 700, 20_000])
def test_the_next_opener_says_how_many_a_kill_took(tmp_path: Path, count: int) -> None:
    """With durability commit: stored events and the gap are all that was published, or up to 1,024 more."""
    path = tmp_path / "runs.db"
    killed_burst(path, "commit", count)
    sonde.record(path, session_id="next").close()
    with SQLiteStore(path, mode="ro") as store:
        there = sum(event.type in ("n", "session.started") for event in store.read("s"))
        gaps = list(store.read_by_type("s", EventType.GAP))
    missed = sum(gap.data["missed"] for gap in gaps)
    assert len(gaps) <= 1
    assert count + 1 <= there + missed <= count + 1 + min(1024, max(8, count))
    if gaps:
        assert gaps[0].data["reasons"] == {"killed": missed}
        assert gaps[0].data["at_most"]


def test_a_kill_with_nothing_pending_claims_no_loss(tmp_path: Path) -> None:
    """The figure is exact once the hub has come to rest."""
    path = tmp_path / "runs.db"
    killed_burst(path, "commit", 500, "idle")
    with SQLiteStore(path) as store:
        assert recover(store).missed == 0
        assert not list(store.read_by_type("s", EventType.GAP))
        assert not os.path.exists(folder_of(str(path)))


@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_a_torn_tail_and_a_recovery_that_was_killed(
    tmp_path: Path, journal_files: Callable[[Path], list[Path]], journal: str
) -> None:
    """Damage at an arena's end costs nothing before it; files that are still there after a recovery add nothing."""
    path = tmp_path / "runs.db"
    process = start(ENDLESS, path, "s", "emit", 1, journal)
    known = acknowledged(process, 300)
    folder = Path(folder_of(str(path)))
    files = journal_files(path)
    arenas = {file: file.read_bytes() for file in files if file.suffix == ".arena"}
    fullest = max(arenas, key=lambda file: len(arenas[file].rstrip(b"\0")))
    content = arenas[fullest].rstrip(b"\0")
    fullest.write_bytes((content + b"\x10\0\0\0half").ljust(len(arenas[fullest]), b"\0"))
    kept = {file: (tmp_path if file.parent == folder else file.parent) / f"{file.name}.kept" for file in files}
    for file, other in kept.items():
        os.link(file, other)  # the very file: what lies in memory is found by it
    with SQLiteStore(path) as store:
        found = recover(store)
        assert found.torn >= 1 or not content
        assert not any(file.exists() for file in files)
        folder.mkdir(exist_ok=True)
        for file, other in kept.items():  # as if the recovery had been killed before it removed them
            os.link(other, file)
            other.unlink()
        assert recover(store) == Recovery(1, 0, found.torn, 0)
    assert not any(file.exists() for file in files)
    assert known <= set(stored(path))
    assert len(stored(path)) == len(set(stored(path)))


FORKING = """
import os, sys, signal, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", journal=sys.argv[3], memory_interval_s=None)
for i in range(100): rec.emit("n", thread=0, i=i)
pid = os.fork()
if pid == 0:
    for i in range(50): rec.emit("n", thread=1, i=i)
    os.kill(os.getpid(), 9)
os.waitpid(pid, 0)
for i in range(100, 200): rec.emit("n", thread=0, i=i)
if sys.argv[2] == "close":
    assert rec.close()
else:
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["close", "kill"])
@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_a_forked_child_has_arenas_of_its_own(
    tmp_path: Path, journal_files: Callable[[Path], list[Path]], journal: str, end: str
) -> None:
    """Killed or not, each side's events are there once, and a child's death leaves the parent's files alone."""
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", FORKING, str(path), end, journal], capture_output=True, check=False, timeout=100
    )
    assert (run.returncode, run.stderr) == (0 if end == "close" else -signal.SIGKILL, b"")
    if end == "close":
        left = {file.suffix for file in journal_files(path)}
        assert left >= {".mark", ".arena"}, "the child's are left for the next opener"
    sonde.record(path, session_id="next").close()
    found = stored(path)
    assert sorted(found) == [(0, i) for i in range(200)] + [(1, i) for i in range(50)]


CHILD = """
import os, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", memory_interval_s=None)
for i in range(100): rec.emit("n", thread=0, i=i)
for child in range(1, int(sys.argv[2]) + 1):
    pid = os.fork()
    if pid == 0:
        for i in range(child): rec.emit("n", thread=child, i=i)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
assert rec.close()
"""


def test_a_forked_child_that_is_killed_at_once_is_counted(tmp_path: Path) -> None:
    """With durability commit: from the first emit on that returned, what a kill takes from a child is counted."""
    path = tmp_path / "runs.db"
    children = 12
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(children)], capture_output=True, check=False, timeout=100
    )
    assert (run.returncode, run.stderr) == (0, b"")
    sonde.record(path, session_id="next").close()
    there = sum(thread > 0 for thread, _ in stored(path))
    with SQLiteStore(path, mode="ro") as store:
        missed = [event.data["missed"] for event in store.read_by_type("s", EventType.GAP)]
    emitted = sum(range(1, children + 1))
    assert emitted <= there + sum(missed) <= emitted + 8 * children
    assert not os.path.exists(folder_of(str(path)))


SIGNALS = """
import itertools, os, signal, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", memory_interval_s=None)
i = j = 0
numbers = itertools.count()
def handler(*_):  # which may interrupt itself
    global j
    n = next(numbers)
    rec.emit("n", thread=1, i=n)
    j = max(j, n + 1)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while j < int(sys.argv[2]):
    if i < 20_000:
        rec.emit("n", thread=0, i=i)
        i += 1
signal.setitimer(signal.ITIMER_REAL, 0)
stats = rec.stats()
assert stats.unjournaled == 0, stats
os.write(1, b"%d %d %d" % (i, next(numbers), stats.journal_bytes))
os.kill(os.getpid(), 9)
"""


def test_signal_handlers_at_1_khz_emit_too(tmp_path: Path) -> None:
    """A handler that interrupts an emit emits by itself: after a kill both are there; and the journal stays small."""
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", SIGNALS, str(path), "300"], capture_output=True, check=False, timeout=100
    )
    assert (run.returncode, run.stderr) == (-signal.SIGKILL, b"")
    i, j, journal_bytes = map(int, run.stdout.split())
    sonde.record(path, session_id="next").close()
    assert sorted(stored(path)) == [(0, n) for n in range(i)] + [(1, n) for n in range(j)]
    assert journal_bytes <= (4 << 20) + 4 * 100 * (i + j)


CTRL_C = """
import os, signal, sys, time, sonde, sonde.journal.upkeep
sonde.journal.upkeep._LOST_AFTER_S = 0.9
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", memory_interval_s=None)
i = interrupts = 0
def interrupt(_, frame):  # in sonde alone: what catches it here must not be interrupted itself
    global interrupts
    while frame is not None:
        if "/sonde/" in frame.f_code.co_filename:
            interrupts += 1
            raise KeyboardInterrupt
        frame = frame.f_back
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
while interrupts < 500:
    try:
        rec.emit("n", thread=0, i=i)
    except KeyboardInterrupt:
        continue
    i += 1
signal.setitimer(signal.ITIMER_REAL, 0)
rec.flush()
deadline = time.monotonic() + 50
while rec.stats().journal_bytes > 512 << 10 and time.monotonic() < deadline:
    time.sleep(0.1)
stats = rec.stats()
assert stats.unjournaled == 0, stats
os.write(1, b"%d %d" % (i, stats.journal_bytes))
rec.close()
assert not os.path.exists(sys.argv[1] + "-journal.d")
"""


def test_interrupts_lose_no_arena_for_good(tmp_path: Path) -> None:
    """An arena that an interrupt took out of a publisher's hands is found again; all events are in the store."""
    path = tmp_path / "runs.db"
    run = subprocess.run([sys.executable, "-c", CTRL_C, str(path)], capture_output=True, check=False, timeout=100)
    assert (run.returncode, run.stderr.decode()) == (0, "")
    emitted, journal_bytes = map(int, run.stdout.split())
    assert {(0, i) for i in range(emitted)} <= set(stored(path))
    assert journal_bytes <= 512 << 10


def test_recovery_waits_for_no_living_writer(tmp_path: Path) -> None:
    """A recorder in this very process is alive: its journal is left alone by another recorder of it."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="a", durability="emit") as first:
        first.emit("n", i=0)
        began_s = time.monotonic()
        with sonde.record(path, session_id="b", durability="emit") as second:
            second.emit("n", i=0)
            assert time.monotonic() - began_s < 5
        first.emit("n", i=1)
        assert first.flush()
    assert not os.path.exists(folder_of(str(path)))
    with SQLiteStore(path, mode="ro") as store:
        assert [event.data["i"] for event in store.read_by_type("a", "n")] == [0, 1]


PREFORK = """
import os, sys, time, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability=sys.argv[2], memory_interval_s=None)
assert rec.flush()
if not (killed := os.fork()):
    for i in range(500):
        rec.emit("n", i=i)
    os.kill(os.getpid(), 9)
os.waitpid(killed, 0)
if not (next_one := os.fork()):
    rec.emit("alive")
    assert rec.flush(30)
    while len([name for name in os.listdir(sys.argv[1] + "-journal.d") if name.endswith(".mark")]) > 2:
        time.sleep(0.01)  # there are the parent's and this one's, and that of the killed one until it is taken in
    os._exit(0)
assert os.waitpid(next_one, 0)[1] == 0
assert rec.stats().committed == 1
"""


@pytest.mark.parametrize("durability", ["commit", "emit"])
def test_the_next_worker_takes_in_what_a_killed_one_left(tmp_path: Path, durability: str) -> None:
    """A server that forks workers for months opens its store once: each new worker looks as a new program does."""
    path = tmp_path / "runs.db"
    subprocess.run([sys.executable, "-c", PREFORK, str(path), durability], check=True, timeout=100)
    with SQLiteStore(path, mode="ro") as store:
        there = [event.data["i"] for event in store.read_by_type("s", "n")]
        missed = sum(gap.data["missed"] for gap in store.read_by_type("s", EventType.GAP))
    assert there == list(range(len(there)))
    if durability == "emit":
        assert (len(there), missed) == (500, 0)
    else:
        assert 500 <= len(there) + missed <= 1_000
