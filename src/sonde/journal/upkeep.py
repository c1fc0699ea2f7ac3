"""Upkeep: of one writer's arenas, in the background. Wipes what is committed, finds what interrupts lost, shrinks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from sonde.journal.arena import Arena, Segment
from sonde.journal.arenas import FIRST_BYTES, RESERVE, SEGMENT_BYTES, Arenas
from sonde.journal.record import read_records

_GROUPS = 2
_INSPECT_EVERY_S = 1.0
_LOST_AFTER_S = 4.5  # a thread on a crowded machine may well wait a second for the interpreter
_SHRINK_EVERY_S = 3.0


class Fence(Protocol):
    """A moment between events: whether all that was published before it is committed, or counted as lost."""

    def is_passed(self) -> bool:
        """Whether it is so by now."""
        ...


class Upkeep:
    """Looks after the arenas of one writer. By one thread at a time, which an interrupt may end anywhere."""

    def __init__(self, arenas: Arenas) -> None:
        """Hold nothing back yet."""
        self._arenas = arenas
        self._held: deque[tuple[Fence, list[Segment]]] = deque()
        self._inspected_s = self._shrunk_s = time.monotonic()

    def tidy(self, fence: Callable[[], Fence]) -> None:
        """Hold back what was written into, and wipe what is committed; see that spare ones are there."""
        now_s = time.monotonic()
        if now_s - self._inspected_s >= _INSPECT_EVERY_S:
            self._inspected_s = now_s
            self._inspect(fence, now_s)
        # Not at each turn while the store is stuck: what is held is written into no more, however empty it is.
        if len(self._held) < _GROUPS:
            segments = self._written()
            if segments:
                # After they were taken: each event in them was in the inbox before its segment was back in the list.
                self._held.append((fence(), segments))
        while self._held and self._held[0][0].is_passed():
            for segment in self._held.popleft()[1]:
                self._recycle(segment)
        self._arenas.prepare()
        if now_s - self._shrunk_s >= _SHRINK_EVERY_S:
            self._shrunk_s = now_s
            self._shrink()

    def _written(self) -> list[Segment]:
        found = []
        for source in (self._arenas.full, self._arenas.open, self._arenas.large):
            for _ in range(len(source)):
                try:
                    segment = source.popleft()
                except IndexError:  # a publisher was faster
                    break
                if segment.is_withdrawn:
                    continue  # held already, or gone
                if segment.at > segment.begin:
                    found.append(segment)
                else:
                    source.append(segment)
        return found

    def _recycle(self, segment: Segment) -> None:
        arena = segment.arena
        if arena.is_gone:
            return
        segment.reset()
        arena.is_idle = False
        if segment.is_withdrawn or arena.is_retiring:
            self._retire(segment)
        elif segment.end - segment.begin <= SEGMENT_BYTES:
            self._arenas.spare.append(segment)
        else:
            self._arenas.large.append(segment)

    def _retire(self, segment: Segment) -> None:
        """Use it no more. The last one takes its file along: a thread that comes back to it gets a ``ValueError``."""
        segment.arena.live.discard(segment)
        if not segment.arena.live:
            self._arenas.pool.remove(segment.arena)

    def _inspect(self, fence: Callable[[], Fence], now_s: float) -> None:
        """Find what an interrupt took out of the lists, and what somebody took out of the folder."""
        self._arenas.note()
        for arena in self._arenas.pool.look():
            self._give_up(arena)
        lost = self._lost(now_s)
        if lost:
            self._held.append((fence(), lost))
        for arena in [arena for arena in list(self._arenas.pool.arenas) if arena.is_retiring]:
            for segment in list(arena.live):
                if self._is_taken(segment):
                    if segment.at > segment.begin:
                        self._arenas.full.append(segment)
                    else:
                        self._retire(segment)

    def _is_taken(self, segment: Segment) -> bool:
        """Take it away from publishers, if none has it in hand. Whether that was possible."""
        arenas = self._arenas
        return any(_taken_from(each, segment) for each in (arenas.spare, arenas.open, arenas.large))

    def _give_up(self, arena: Arena) -> None:
        """Its file is gone, so what waits there has no copy any more."""
        for segment in arena.segments:
            segment.is_withdrawn = True  # first: who writes after the count writes again, elsewhere
        arena.is_gone = True
        for segment in arena.segments:
            for _ in read_records(arena.map[segment.begin : segment.at]).records:
                self._arenas.unjournaled.increment()
            _taken_from(self._arenas.spare, segment)
        self._arenas.note()
        self._arenas.pool.problem = f"somebody removed '{arena.path}', where events wait for the store"
        self._arenas.pool.remove(arena)

    def _lost(self, now_s: float) -> list[Segment]:
        """Segments that have been in nobody's list for so long that their publisher was probably interrupted."""
        listed = {
            *list(self._arenas.open),
            *list(self._arenas.large),
            *list(self._arenas.spare),
            *list(self._arenas.full),
        }
        listed.update(segment for _, some in self._held for segment in some)
        lost = []
        for arena in list(self._arenas.pool.arenas):
            for segment in arena.live - listed:
                if segment.looked_at != segment.at:
                    segment.looked_at, segment.looked_s = segment.at, now_s
                elif now_s - segment.looked_s >= _LOST_AFTER_S:
                    segment.is_withdrawn = arena.is_retiring = True
                    lost.append(segment)
            for segment in arena.live & listed:
                segment.looked_at = -1
        return lost

    def _shrink(self) -> None:
        """Give back what a burst needed. Not earlier: blocks that are there already are what makes an event cheap."""
        for arena in sorted(self._arenas.pool.arenas.copy(), key=lambda arena: -arena.size):
            if not arena.is_idle:
                arena.is_idle = True
                continue
            is_small = len(arena.segments) > 1 or arena.size <= SEGMENT_BYTES
            if is_small and arena.size > FIRST_BYTES and not self._can_spare(arena):
                self._arenas.grow(FIRST_BYTES)
            if not is_small or self._can_spare(arena):
                self._take_back(arena)

    def _can_spare(self, arena: Arena) -> bool:
        return len(self._arenas.spare) - len(arena.segments) >= RESERVE

    def _take_back(self, arena: Arena) -> None:
        """Remove an arena if all of it is unwritten, and in nobody's hands."""
        taken = []
        for segment in arena.segments:
            if not self._is_taken(segment):
                break
            taken.append(segment)
            if segment.at > segment.begin:
                break
        else:
            self._arenas.pool.remove(arena)
            return
        for segment in taken:
            self._arenas.put_back(segment)


def _taken_from(source: deque[Segment], segment: Segment) -> bool:
    """Take it out of the list. Whether it was there."""
    try:
        source.remove(segment)
    except (ValueError, IndexError):  # not there; or a publisher took another one at this very moment
        return False
    return True
