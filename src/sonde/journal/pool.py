"""Pool: the files of one writer's arenas. They are made within a bound, counted, looked after, and removed."""

from __future__ import annotations

import os
import time
from itertools import count

from sonde.journal.arena import Arena, Shape, arena_path, arenas_in, arenas_of, moved_path
from sonde.journal.file import remove_file
from sonde.journal.mark import FILES, Mark

_PAGE_BYTES = 4096
_RETRY_S = 1.0


class Pool:
    """Makes arenas for any thread and in signal handlers, and removes them for one thread at a time."""

    def __init__(self, mark: Mark, *, max_bytes: int) -> None:
        """Nothing is made yet. ``max_bytes`` bounds all arenas together."""
        self.mark = mark
        self.arenas: set[Arena] = set()
        self.problem: str | None = None
        """Why one could not be made or kept, the last time."""
        self.is_closed = False
        self._max_bytes = max_bytes
        self._numbers = count(1)
        self._making: dict[int, str] = {}
        self._strangers: set[str] = set()
        self._stuck: set[int] = set()
        self._denied_until_s = 0.0
        self._is_short = False

    @property
    def size_bytes(self) -> int:
        """What they take."""
        return sum(arena.size for arena in list(self.arenas))

    @property
    def is_making(self) -> bool:
        """Whether somebody is about to make one: another thread, or whom this signal handler interrupted."""
        return bool(self._making)

    def grown(self, first_bytes: int, largest_bytes: int) -> int:
        """The size of the next arena: half of all, within these; the first again where the disk was short."""
        return first_bytes if self._is_short else max(first_bytes, min(self.size_bytes // 2, largest_bytes))

    def make(self, size_bytes: int, *, segment_bytes: int | None = None) -> Arena | None:
        """Make an arena of segments, or of one; ``None`` and a ``problem`` if that is not possible."""
        if self.is_closed or time.monotonic() < self._denied_until_s:
            return None
        have_bytes = self.size_bytes
        step = segment_bytes or _PAGE_BYTES  # a last segment that is shorter would not take what others do
        size_bytes = -(-size_bytes // step) * step
        if segment_bytes is not None and have_bytes + size_bytes > self._max_bytes:
            size_bytes = (self._max_bytes - have_bytes) // segment_bytes * segment_bytes
        if size_bytes <= 0 or have_bytes + size_bytes > self._max_bytes:
            self.problem = f"{have_bytes:,} bytes of arenas wait for the store, and {self._max_bytes:,} are allowed"
            return None
        if not self.mark.is_makers:
            self.problem = "cannot make an arena: the program has changed its user since it began to record"
            self._denied_until_s = time.monotonic() + _RETRY_S
            return None
        shape = Shape(segment_bytes or size_bytes, size_bytes)
        number = next(self._numbers)
        path = arena_path(self.mark.home, number, shape)
        try:
            self._making[number] = path
            arena = Arena(path, shape)
            # Before it is no longer about to be made: what is in neither is removed. An interrupt between here and its
            # first use leaves segments in nobody's hands, which are found.
            self.arenas.add(arena)
        except OSError as error:
            if error.errno is None:  # the TimeoutError, say, of somebody's signal handler
                raise
            self.problem = f"cannot make an arena of {size_bytes:,} bytes: {error}"
            self._denied_until_s = time.monotonic() + _RETRY_S
            self._is_short = True
            return None
        finally:
            self._making.pop(number, None)
        self._is_short = False
        self.note()
        return arena

    def note(self) -> None:
        """Put on the mark how many files there are: who recovers is to know if one is missing."""
        try:
            self.mark.words[FILES] = len(self.arenas)
        except ValueError:  # closed meanwhile
            return

    # -- for the background --------------------------------------------------------------------------------------------

    def remove(self, arena: Arena) -> None:
        """Remove an arena in which nothing waits."""
        self.arenas.discard(arena)
        self.note()  # first: one file more than noted is no loss
        arena.remove()

    def move(self, mark: Mark) -> None:
        """The mark was made anew: take the files along to where it says that they lie.

        What cannot be moved, since it is gone too, :meth:`look` finds.
        """
        self.mark = mark
        for arena in list(self.arenas):
            path = moved_path(arena.path, mark.home)
            try:
                os.rename(arena.path, path)
            except OSError:
                continue
            arena.path = path

    def look(self) -> list[Arena]:
        """Arenas whose file somebody removed. Files of which nobody knows, left by an interrupt, are removed."""
        self.note()
        known = list(self.arenas)
        try:
            there = set(arenas_in(self.mark.home))
        except FileNotFoundError:
            there = set()
        except OSError:  # no descriptor left, or no right to look: that says nothing about the files
            return []
        making = list(self._making)
        for number in self._stuck.intersection(making):  # an interrupt ended it, and its tidying up
            self._making.pop(number, None)
        self._stuck = set(making)
        paths = list(self._making.values())
        strangers = there.difference(paths, [arena.path for arena in list(self.arenas)])  # looked at in this order
        for path in strangers & self._strangers:  # and not made just now
            remove_file(path)
        self._strangers = strangers
        return [arena for arena in known if arena.path not in there]

    def close(self, *, keep: bool) -> None:
        """Remove all, or leave the files for the next writer to take in. Idempotent."""
        self.is_closed = True
        for arena in list(self.arenas):
            if keep:
                arena.forget()
            else:
                arena.remove()
        self.arenas.clear()
        if not keep:
            for path in arenas_of(self.mark.home):
                remove_file(path)
