"""Arenas: where an event goes, when it is wiped, what happens where there is no room."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonde.events import PublishedEvent
from sonde.journal.arena import arenas_of
from sonde.journal.arenas import FIRST_BYTES, SEGMENT_BYTES, Arenas
from sonde.journal.mark import Mark
from sonde.journal.remains import read_arena
from sonde.journal.upkeep import Upkeep

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")


class Gate:
    """A fence that is passed when it is told."""

    def __init__(self) -> None:
        self.passed = False

    def is_passed(self) -> bool:
        return self.passed


@pytest.fixture(params=["memory", "disk"])
def mark(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mark]:
    made = Mark(
        str(tmp_path / "j"),
        "w",
        session_id="s",
        durability="emit",
        has_arenas=True,
        in_memory=request.param == "memory",
    )
    yield made
    made.remove()


def event(seq: int, **data: object) -> PublishedEvent:
    return PublishedEvent("n", 1, data=data, writer_id="w", seq=seq)


def kept(mark: Mark) -> list[int]:
    """The numbers of all events that the files hold."""
    found: list[int] = []
    for path in arenas_of(mark.home):
        arena = read_arena(path, "w")
        assert (arena.torn, arena.is_damaged) == (0, False)
        found += [each.seq for each in arena.events]
    return sorted(found)


def test_a_copy_is_kept_until_its_fence_is_passed(tmp_path: Path, mark: Mark) -> None:
    """It is in the file before it is handed over, and its bytes are wiped once it is committed, and not earlier."""
    arenas = Arenas(mark, max_bytes=1 << 24)
    upkeep = Upkeep(arenas)
    seen: list[list[int]] = []
    record = arenas.recording(lambda _: seen.append(kept(mark)))
    record(event(1, text="plain"))
    record(event(2, text=object()))  # sanitised
    assert seen == [[1], [1, 2]]
    gate = Gate()
    upkeep.tidy(lambda: gate)
    record(event(3))
    assert kept(mark) == [1, 2, 3]
    gate.passed = True
    open_gate = Gate()
    upkeep.tidy(lambda: open_gate)
    assert kept(mark) == [3]
    assert b"plain" not in b"".join(Path(path).read_bytes() for path in arenas_of(mark.home))
    arenas.close(keep=False)
    assert arenas_of(mark.home) == []


def test_an_event_larger_than_an_arena_gets_one_of_its_size(tmp_path: Path, mark: Mark) -> None:
    """And those after it go on as before."""
    arenas = Arenas(mark, max_bytes=1 << 24)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)
    record(event(1, text="x" * (3 * FIRST_BYTES)))
    record(event(2))
    assert kept(mark) == [1, 2]
    assert [each.seq for each in inbox] == [1, 2]
    assert arenas.unjournaled.value == 0
    arenas.close(keep=False)


@pytest.mark.parametrize("size_bytes", [100, 4_000, 12_000, 16_000, 40_000])
def test_a_burst_of_events_of_any_size_is_kept(tmp_path: Path, mark: Mark, size_bytes: int) -> None:
    """However the files grow meanwhile: each segment takes what another one takes."""
    arenas = Arenas(mark, max_bytes=1 << 27)
    record = arenas.recording(lambda _: None)
    number = 24_000_000 // size_bytes if size_bytes > 1_000 else 20_000
    for seq in range(1, number + 1):
        record(event(seq, text="x" * size_bytes))
    assert arenas.unjournaled.value == 0
    assert kept(mark) == list(range(1, number + 1))
    arenas.close(keep=False)


def test_past_the_bound_events_are_counted_and_handed_over(tmp_path: Path, mark: Mark) -> None:
    """The journal takes no more of the disk than it may, and loses nothing for it."""
    arenas = Arenas(mark, max_bytes=2 * FIRST_BYTES)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)
    for seq in range(1, 1001):
        record(event(seq, text="x" * 1000))
    assert len(inbox) == 1000
    assert arenas.size_bytes == 2 * FIRST_BYTES
    assert len(kept(mark)) + arenas.unjournaled.value == 1000
    assert arenas.unjournaled.value
    assert "are allowed" in (arenas.why or "")
    arenas.close(keep=False)


def test_after_close_events_are_handed_over(tmp_path: Path, mark: Mark) -> None:
    """A publisher that is late gets no exception, and its event goes where it would have gone."""
    arenas = Arenas(mark, max_bytes=1 << 24)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)
    arenas.close(keep=False)
    record(event(1))
    assert [each.seq for each in inbox] == [1]
    assert arenas.unjournaled.value == 1


def test_threads_and_a_tidying_one_lose_nothing(tmp_path: Path, mark: Mark) -> None:
    """Eight publishers while arenas are held back all the time: every event is on disk, and handed over once."""
    arenas = Arenas(mark, max_bytes=1 << 26)
    upkeep = Upkeep(arenas)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)

    def publish(first: int) -> None:
        for seq in range(first, first + 2000):
            record(event(seq))

    threads = [threading.Thread(target=publish, args=(1 + 2000 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    closed = Gate()
    while any(thread.is_alive() for thread in threads):
        upkeep.tidy(lambda: closed)
    for thread in threads:
        thread.join()
    assert kept(mark) == list(range(1, 16001))
    assert sorted(each.seq for each in inbox) == list(range(1, 16001))
    arenas.close(keep=False)


def test_handlers_that_interrupt_each_other_take_little(tmp_path: Path, mark: Mark) -> None:
    """Two hundred publishers that interrupted each other in the middle of it: a segment each, and some to spare."""
    arenas = Arenas(mark, max_bytes=1 << 28)
    deepest = 200

    def interrupted(each: PublishedEvent) -> None:
        if each.seq < deepest:
            record(event(each.seq + 1))

    record = arenas.recording(interrupted)
    record(event(1))
    assert kept(mark) == list(range(1, deepest + 1))
    assert arenas.size_bytes <= 2 * deepest * SEGMENT_BYTES
    arenas.close(keep=False)


def test_handlers_that_interrupt_the_making_of_a_file(
    tmp_path: Path, mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk signals come faster than files: handlers live on what is spare, and on the smallest of files."""
    arenas = Arenas(mark, max_bytes=1 << 30)
    allocate = os.posix_fallocate
    seq = depth = deepest = 0

    def interrupted(handle: int, start: int, size: int) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if depth < 60 and seq < 10_000:
            publish(300 if depth == 1 else 40)  # all that is spare; then more than one segment each
        allocate(handle, start, size)
        depth -= 1

    def publish(count: int) -> None:
        nonlocal seq
        for _ in range(count):
            seq += 1
            record(event(seq, text="x" * 1000))

    record = arenas.recording(lambda _: None)
    monkeypatch.setattr(os, "posix_fallocate", interrupted)
    publish(300)
    assert kept(mark) == list(range(1, seq + 1))
    assert arenas.unjournaled.value == 0
    assert deepest == 60
    assert arenas.size_bytes <= 3 * seq * 1100
    arenas.close(keep=False)


def test_a_stuck_store_holds_few_segments(tmp_path: Path, mark: Mark) -> None:
    """However often the background comes by while nothing is committed, what is held is as large as what waits."""
    arenas = Arenas(mark, max_bytes=1 << 28)
    upkeep = Upkeep(arenas)
    record = arenas.recording(lambda _: None)
    stuck = Gate()
    for seq in range(1, 1001):
        record(event(seq))
        upkeep.tidy(lambda: stuck)
    assert kept(mark) == list(range(1, 1001))
    assert arenas.size_bytes <= 2 * FIRST_BYTES
    stuck.passed = True
    for _ in range(3):
        upkeep.tidy(lambda: stuck)
    assert kept(mark) == []
    arenas.close(keep=False)


@pytest.mark.parametrize("size", [100, 20_000, 500_000])
def test_what_a_burst_took_is_given_back(
    tmp_path: Path, mark: Mark, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Arenas take little more than the events in them, and go when nothing came back to them for a while."""
    monkeypatch.setattr("sonde.journal.upkeep._SHRINK_EVERY_S", 0.0)
    arenas = Arenas(mark, max_bytes=1 << 28)
    upkeep = Upkeep(arenas)
    record = arenas.recording(lambda _: None)
    passed = Gate()
    count = 10_000_000 // size
    for seq in range(1, count + 1):
        record(event(seq, text="x" * size))
    assert kept(mark) == list(range(1, count + 1))
    assert 10_000_000 < arenas.size_bytes < 25_000_000
    passed.passed = True
    for _ in range(4):
        upkeep.tidy(lambda: passed)
    assert arenas.size_bytes <= 2 * FIRST_BYTES
    record(event(1, text="x" * size))
    assert kept(mark) == [1]
    arenas.close(keep=False)
    assert os.listdir(tmp_path / "j") == ["w.mark"]


def test_files_that_somebody_removes_are_replaced_and_counted(
    tmp_path: Path, mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies that are gone are counted as such, and the next events go into new files."""
    monkeypatch.setattr("sonde.journal.upkeep._INSPECT_EVERY_S", 0.0)
    arenas = Arenas(mark, max_bytes=1 << 28)
    upkeep = Upkeep(arenas)
    record = arenas.recording(lambda _: None)
    stuck = Gate()
    for seq in range(1, 31):
        record(event(seq, text="x" * 5000 * (seq % 10)))
        if seq == 20:
            upkeep.tidy(lambda: stuck)
    for path in arenas_of(mark.home):
        os.unlink(path)
    upkeep.tidy(lambda: stuck)
    assert arenas.unjournaled.value == 30
    assert "somebody removed" in (arenas.why or "")
    for seq in range(31, 61):
        record(event(seq, text="x" * 5000 * (seq % 10)))
    assert kept(mark) == list(range(31, 61))
    stuck.passed = True
    for _ in range(4):
        upkeep.tidy(lambda: stuck)
    assert kept(mark) == []
    assert arenas.unjournaled.value == 30
    arenas.close(keep=False)


INTERRUPTED = """
import gc, os, signal, sys
from sonde.journal.arena import arenas_of
from sonde.journal.arenas import Arenas
from sonde.journal.mark import Mark
from sonde.journal.upkeep import Upkeep
from sonde.events import PublishedEvent
folder, wanted, in_memory = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "memory"
class Fence:
    def is_passed(self): return True
def opened(): return len(os.listdir("/proc/self/fd"))
mark = Mark(folder, "w", session_id="s", durability="emit", has_arenas=True, in_memory=in_memory)
arenas = Arenas(mark, max_bytes=2**30)
before = opened() - len(arenas.pool.arenas)
interrupts = rounds = 0
def interrupt(_, frame):
    global interrupts
    while frame is not None:
        if "/sonde/journal/" in frame.f_code.co_filename:
            interrupts += 1
            raise KeyboardInterrupt
        frame = frame.f_back
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0003)
while interrupts < wanted:
    rounds += 1
    try:
        if rounds % 4:
            arena = arenas.pool.make(262144, segment_bytes=32768)
            arenas.pool.remove(arena)
        else:
            Mark(folder, "other", session_id="s", durability="emit", has_arenas=True, in_memory=in_memory).remove()
    except KeyboardInterrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
arena = None
gc.collect()  # an arena and its segments know each other
left = opened() - before - len(arenas.pool.arenas)
upkeep = Upkeep(arenas)
import sonde.journal.upkeep as times
times._INSPECT_EVERY_S = times._LOST_AFTER_S = times._SHRINK_EVERY_S = 0.0
record = arenas.recording(lambda _: None)
for seq in range(1, 20):  # what interrupts took out of the lists is found, and given back
    record(PublishedEvent("n", writer_id="w", seq=seq))
    upkeep.tidy(Fence)
gc.collect()
files = len(arenas_of(mark.home))
print(interrupts, left, files, len(arenas.pool.arenas), arenas.size_bytes, opened() - before)
arenas.close(keep=False)
mark.remove()
"""


@pytest.mark.parametrize("wanted", [1000, pytest.param(20_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("journal", ["memory", "disk"])
def test_interrupts_leave_no_file_open(tmp_path: Path, journal: str, wanted: int) -> None:
    """Wherever an exception of a signal handler ends the making of a file: it is closed, and removed in the end."""
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-c", INTERRUPTED, str(tmp_path / "j"), str(wanted), journal],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    interrupts, left, files, known, size_bytes, opened = map(int, run.stdout.split())
    assert interrupts >= wanted
    assert left == 0
    assert files == known == opened
    assert size_bytes <= 2 * FIRST_BYTES


def test_a_publisher_that_was_given_up_writes_again_elsewhere(
    tmp_path: Path, mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its segment is withdrawn and wiped while it stands still amid its work: its event is on disk when it returns."""
    monkeypatch.setattr("sonde.journal.upkeep._INSPECT_EVERY_S", 0.0)
    monkeypatch.setattr("sonde.journal.upkeep._LOST_AFTER_S", 0.0)
    arenas = Arenas(mark, max_bytes=1 << 24)
    upkeep = Upkeep(arenas)
    passed = Gate()
    passed.passed = True
    inbox: list[int] = []

    def standing_still(each: PublishedEvent) -> None:
        inbox.append(each.seq)
        if each.seq in (4, 6):
            for _ in range(4):
                upkeep.tidy(lambda: passed)

    record = arenas.recording(standing_still)
    for seq in (1, 2, 3):
        record(event(seq, text="x" * 100))
    record(event(4))
    assert kept(mark) == [4]
    record(event(5))
    record(event(6, text=object()))  # the slow way
    assert 6 in kept(mark)
    assert inbox == [1, 2, 3, 4, 5, 6]
    arenas.close(keep=False)
