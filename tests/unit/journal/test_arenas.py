"""Arenas: where an event goes, when it is wiped, what happens where there is no room."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonde.events import PublishedEvent
from sonde.journal.arenas import FIRST_BYTES, Arenas, arenas_of
from sonde.journal.mark import Mark
from sonde.journal.record import read_records, unpack_event

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")


class Gate:
    """A fence that is passed when it is told."""

    def __init__(self) -> None:
        self.passed = False

    def is_passed(self) -> bool:
        return self.passed


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Mark]:
    made = Mark(str(tmp_path / "j"), "w", session_id="s", durability="emit", has_arenas=True)
    yield made
    made.remove()


def event(seq: int, **data: object) -> PublishedEvent:
    return PublishedEvent("n", 1, data=data, writer_id="w", seq=seq)


def on_disk(tmp_path: Path) -> list[int]:
    """The numbers of all events that the files hold."""
    found: list[int] = []
    for path in arenas_of(str(tmp_path / "j"), "w"):
        contents = read_records(Path(path).read_bytes())
        assert not contents.torn
        found += [unpack_event(record, "w").seq for record in contents.records]
    return sorted(found)


def test_an_event_is_on_disk_until_its_fence_is_passed(tmp_path: Path, mark: Mark) -> None:
    """It is in the file before it is handed over, and its bytes are wiped once it is committed, and not earlier."""
    arenas = Arenas(str(tmp_path / "j"), "w", mark, max_bytes=1 << 24)
    seen: list[list[int]] = []
    record = arenas.recording(lambda _: seen.append(on_disk(tmp_path)))
    record(event(1, text="plain"))
    record(event(2, text=object()))  # sanitised
    assert seen == [[1], [1, 2]]
    gate = Gate()
    arenas.tidy(lambda: gate)
    record(event(3))
    assert on_disk(tmp_path) == [1, 2, 3]
    gate.passed = True
    open_gate = Gate()
    arenas.tidy(lambda: open_gate)
    assert on_disk(tmp_path) == [3]
    assert b"plain" not in b"".join(Path(path).read_bytes() for path in arenas_of(str(tmp_path / "j"), "w"))
    arenas.close(keep=False)
    assert arenas_of(str(tmp_path / "j"), "w") == []


def test_an_event_larger_than_an_arena_gets_one_of_its_size(tmp_path: Path, mark: Mark) -> None:
    """And those after it go on as before."""
    arenas = Arenas(str(tmp_path / "j"), "w", mark, max_bytes=1 << 24)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)
    record(event(1, text="x" * (3 * FIRST_BYTES)))
    record(event(2))
    assert on_disk(tmp_path) == [1, 2]
    assert [each.seq for each in inbox] == [1, 2]
    assert arenas.unjournaled.value == 0
    arenas.close(keep=False)


def test_past_the_bound_events_are_counted_and_handed_over(tmp_path: Path, mark: Mark) -> None:
    """The journal takes no more of the disk than it may, and loses nothing for it."""
    arenas = Arenas(str(tmp_path / "j"), "w", mark, max_bytes=2 * FIRST_BYTES)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)
    for seq in range(1, 1001):
        record(event(seq, text="x" * 1000))
    assert len(inbox) == 1000
    assert arenas.size_bytes == 2 * FIRST_BYTES
    assert len(on_disk(tmp_path)) + arenas.unjournaled.value == 1000
    assert arenas.unjournaled.value
    assert "are allowed" in (arenas.problem or "")
    arenas.close(keep=False)


def test_after_close_events_are_handed_over(tmp_path: Path, mark: Mark) -> None:
    """A publisher that is late gets no exception, and its event goes where it would have gone."""
    arenas = Arenas(str(tmp_path / "j"), "w", mark, max_bytes=1 << 24)
    inbox: deque[PublishedEvent] = deque()
    record = arenas.recording(inbox.append)
    arenas.close(keep=False)
    record(event(1))
    assert [each.seq for each in inbox] == [1]
    assert arenas.unjournaled.value == 1


def test_threads_and_a_tidying_one_lose_nothing(tmp_path: Path, mark: Mark) -> None:
    """Eight publishers while arenas are held back all the time: every event is on disk, and handed over once."""
    arenas = Arenas(str(tmp_path / "j"), "w", mark, max_bytes=1 << 26)
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
        arenas.tidy(lambda: closed)
    for thread in threads:
        thread.join()
    assert on_disk(tmp_path) == list(range(1, 16001))
    assert sorted(each.seq for each in inbox) == list(range(1, 16001))
    arenas.close(keep=False)
