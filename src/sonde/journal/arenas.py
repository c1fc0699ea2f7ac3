"""Arenas: those of one writer, and the inbox that writes into them before it takes an event.

An arena is in one place at a time: free, full, in the hands of a publisher, or held back until what is in it is
committed. Publishers take one from the free ones, write, and put it back: two steps of a ``deque``, so there is no lock
that a signal handler could find taken; whoever interrupts a publisher takes another arena.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol
from zlib import crc32

from sonde.events import PublishedEvent
from sonde.journal.arena import Arena
from sonde.journal.mark import UNJOURNALED, Mark
from sonde.journal.record import HEADER, OUR_ERRORS, encode, pack_record
from sonde.tally import Tally

SUFFIX = ".arena"
FIRST_BYTES = 256 * 1024
LARGEST_BYTES = 4 * 1024 * 1024
"""Of arenas that are made ahead; one event larger than that gets an arena of its size."""
_PAGE_BYTES = 4096
_RETRY_S = 1.0
_LOST_AFTER_S = 1.0
_IDLE_TURNS = 10  # of half a second


class Fence(Protocol):
    """A moment between events: whether all that was published before it is committed, or counted as lost."""

    def is_passed(self) -> bool:
        """Whether it is so by now."""
        ...


class Arenas:
    """The arenas of one writer in this process.

    ``record`` may be called by any thread and in signal handlers; ``tidy`` and ``close`` by one thread at a time.
    """

    def __init__(self, folder: str, writer_id: str, mark: Mark, *, max_bytes: int) -> None:
        """Make the first one.

        ``max_bytes`` bounds them together: what exceeds it is not journaled, and counted.
        """
        self._folder = folder
        self._writer_id = writer_id
        self._mark = mark
        self._max_bytes = max_bytes
        self._free: deque[Arena] = deque()
        self._full: deque[Arena] = deque()
        self._held: deque[tuple[Fence, list[Arena]]] = deque()
        self._all: set[Arena] = set()
        self._numbers = count(1)
        self._denied_until_s = 0.0
        self._is_closed = False
        self._idle_turns = 0
        self.unjournaled = Tally()
        """Events that no arena could take."""
        self.problem: str | None = None
        """Why, the last time."""
        for _ in range(2):
            self._spare()

    @property
    def size_bytes(self) -> int:
        """What they take of the disk."""
        return sum(arena.size for arena in list(self._all))

    # -- for publishers: no lock, no exception -------------------------------------------------------------------------

    def recording(self, hand_over: Callable[[PublishedEvent], None]) -> Callable[[PublishedEvent], None]:
        """What journals an event and hands it over, in this order.

        A closure, since this is what ``emit`` waits for: 0.7 µs with an event of four keys.
        """
        take, put_back, record_slowly = self._free.pop, self._free.append, self._record_slowly
        checksum, pack = crc32, HEADER.pack

        def record(event: PublishedEvent) -> None:
            hand = hand_over
            try:
                payload = encode(
                    (  # as pack_record does it
                        event.type,
                        event.time_ns,
                        event.session_id,
                        event.plan_id,
                        event.task_id,
                        event.data,
                        event.trace_id,
                        event.span_id,
                        event.parent_id,
                        event.seq,
                    )
                )
                written = pack(len(payload), checksum(payload)) + payload
                arena = take()
            except OUR_ERRORS:  # no arena is free, or what msgspec refuses
                record_slowly(event, hand)
                return
            # From here on the arena is in the list again whatever happens. A signal's exception just before loses it:
            # ``tidy`` finds it.
            try:
                at = arena.at
                end = at + len(written)
                if end <= arena.size:
                    arena.map[at:end] = written
                    arena.at = end
                    hand(event)  # before the arena is back: who finds it there finds its events in the inbox
                    if not arena.is_withdrawn:
                        return
                    hand = _hand_to_nobody
            except ValueError:  # it was withdrawn a while ago, and its file is gone
                pass
            finally:
                put_back(arena)
            record_slowly(event, hand)

        return record

    def _record_slowly(self, event: PublishedEvent, hand_over: Callable[[PublishedEvent], None]) -> None:
        """Sanitise what must be, find an arena or make one, and hand over in any case."""
        arena = None
        is_written = False
        try:
            try:
                record = pack_record(event)
                arena = self._fitting(len(record))
                is_written = arena is not None and arena.write(record) and not arena.is_withdrawn
            except OUR_ERRORS as error:  # the event matters more than its copy
                self.problem = f"{type(error).__name__}: {error}"
            if not is_written:
                self.unjournaled.increment()
                self._note_unjournaled()
            hand_over(event)
        finally:
            if arena is not None:
                self._free.append(arena)

    def _note_unjournaled(self) -> None:
        try:
            self._mark.words[UNJOURNALED] = self.unjournaled.value
        except ValueError:  # closed meanwhile
            return

    def _fitting(self, size_bytes: int) -> Arena | None:
        passed: list[Arena] = []
        try:
            while True:
                try:
                    arena = self._free.pop()
                except IndexError:
                    return self._make(size_bytes)
                if arena.is_withdrawn:
                    continue
                if arena.at + size_bytes <= arena.size:
                    return arena
                (self._full if arena.at else passed).append(arena)
        finally:
            self._free.extend(passed)

    def _make(self, size_bytes: int) -> Arena | None:
        if self._is_closed or time.monotonic() < self._denied_until_s:
            return None
        have_bytes = self.size_bytes
        size = max(min(max(have_bytes // 2, FIRST_BYTES), LARGEST_BYTES), size_bytes)
        size = -(-size // _PAGE_BYTES) * _PAGE_BYTES
        if have_bytes + size > self._max_bytes:
            self.problem = f"{have_bytes:,} bytes of arenas wait for the store, and {self._max_bytes:,} are allowed"
            return None
        try:
            name = f"{self._writer_id}.{next(self._numbers)}{SUFFIX}"
            arena = Arena(os.path.join(self._folder, name), size)
        except OSError as error:
            if error.errno is None:  # the TimeoutError, say, of somebody's signal handler
                raise
            self.problem = f"cannot make an arena of {size:,} bytes: {error}"
            self._denied_until_s = time.monotonic() + _RETRY_S
            return None
        self._all.add(arena)
        return arena

    # -- for the background --------------------------------------------------------------------------------------------

    def tidy(self, fence: Callable[[], Fence]) -> None:
        """Hold back what was written into, and wipe what is committed; see that a spare one is there."""
        self._spare()
        arenas = self._written()
        self._idle_turns = 0 if arenas or self._held else self._idle_turns + 1
        if self._idle_turns >= _IDLE_TURNS:
            self._shrink()
        if arenas:
            # After they were taken: each event in them was in the inbox before its arena was back in the list.
            self._held.append((fence(), arenas))
        while self._held and self._held[0][0].is_passed():
            for arena in self._held.popleft()[1]:
                self._recycle(arena)

    def _spare(self) -> None:
        if not any(not arena.at for arena in list(self._free)):
            arena = self._make(0)
            if arena is not None:
                self._free.append(arena)

    def _written(self) -> list[Arena]:
        found = []
        for source in (self._full, self._free):
            for _ in range(len(source)):
                try:
                    arena = source.popleft()
                except IndexError:  # a publisher was faster
                    break
                if arena.is_withdrawn:
                    continue  # held already, or gone
                if arena.at:
                    found.append(arena)
                else:
                    self._free.append(arena)
        held = sum(len(arenas) for _, arenas in self._held) + len(found)
        if held + len(self._free) + len(self._full) != len(self._all):
            found += self._lost(found)
        return found

    def _lost(self, found: list[Arena]) -> list[Arena]:
        """Arenas that have been in nobody's list for so long that their publisher was probably interrupted."""
        listed = {*found, *list(self._free), *list(self._full), *(arena for _, some in self._held for arena in some)}
        lost = []
        now_s = time.monotonic()
        for arena in list(self._all):
            if arena in listed or arena.looked_at != arena.at:
                arena.looked_at, arena.looked_s = (-1 if arena in listed else arena.at), now_s
            elif now_s - arena.looked_s >= _LOST_AFTER_S:
                arena.is_withdrawn = True
                lost.append(arena)
        return lost

    def _recycle(self, arena: Arena) -> None:
        if arena.is_withdrawn:
            self._all.discard(arena)
            arena.remove()
        else:
            arena.reset()
            self._free.append(arena)

    def _shrink(self) -> None:
        """Give back what a burst needed. Not earlier: blocks that are there already are what makes an event cheap."""
        for _ in range(len(self._free)):
            try:
                arena = self._free.popleft()
            except IndexError:
                return
            if arena.at or arena.size == FIRST_BYTES:
                self._free.append(arena)
            else:
                self._all.discard(arena)
                arena.remove()

    def close(self, *, keep: bool) -> None:
        """Remove them, or leave the files for the next writer to take in. Idempotent."""
        self._is_closed = True
        self._free.clear()
        for arena in list(self._all):
            if keep:
                arena.forget()
            else:
                arena.remove()
        self._all.clear()
        if not keep:  # what an interrupt left half made
            for path in arenas_of(self._folder, self._writer_id):
                try:
                    os.unlink(path)
                except OSError:  # gone, with its folder
                    continue


def _hand_to_nobody(event: PublishedEvent) -> None:
    """The event is in the inbox already."""


def arenas_of(folder: str, writer_id: str) -> list[str]:
    """The paths of a writer's arenas."""
    try:
        names = os.listdir(folder)
    except OSError:  # removed just now
        return []
    return [os.path.join(folder, name) for name in names if name.startswith(f"{writer_id}.") and name.endswith(SUFFIX)]
