"""Journal: what one recorder keeps beside its store, so that a kill takes little along, and none of it unnoticed."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable

from sonde.events import PublishedEvent
from sonde.failures import FailureLog
from sonde.journal.arenas import Arenas
from sonde.journal.mark import ACCOUNTED, CLAIMED, HAS_FLOCK, TIME_NS, WAITING, Mark
from sonde.journal.upkeep import Fence, Upkeep
from sonde.tally import Tally

__all__ = ["Fence", "Journal"]

_LOOK_EVERY_S = 1.0
_COPY_EVERY_S = 0.05


class Journal:
    """The mark of a recorder's writer and, with ``is_full``, the arenas of its events.

    The hub tells it how far publishing has come (:class:`sonde.hub.Witness`); the persister's thread calls :meth:`tidy`
    after each turn. Nothing here raises for want of a file: what could not be done is counted and logged.

    Thread-safety: ``claimed`` and ``tidy`` are for one thread each, ``waiting`` is for all. Blocking: a call or two of
    the file system when a writer begins or ends. Loss: none that is not counted.
    """

    def __init__(
        self,
        folder: str,
        *,
        session_id: str,
        durability: str,
        redaction: str = "default",
        is_full: bool,
        max_bytes: int,
        failures: FailureLog,
        in_memory: bool = True,
    ) -> None:
        """Open nothing yet: see :meth:`open`. ``max_bytes`` bounds the arenas; for the rest see :class:`Mark`."""
        self._folder = folder
        self._session_id = session_id
        self._durability = durability
        self._redaction = redaction
        self._is_full = is_full
        self._is_in_memory = in_memory
        self._max_bytes = max_bytes
        self.failures = failures
        self._is_closed = False
        self._told = 0
        self._mark: Mark | None = None
        self._stuck: Mark | None = None
        """What close() left to the persister's thread, which has not come back from the disk."""
        self._arenas: Arenas | None = None
        self.begin("")

    @staticmethod
    def is_possible(*, is_full: bool) -> bool:
        """Whether this system has what it takes: locks on files, and for arenas a way to allocate their blocks."""
        return HAS_FLOCK and (not is_full or hasattr(os, "posix_fallocate"))

    # -- for the hub ---------------------------------------------------------------------------------------------------

    def begin(self, writer_id: str) -> deque[PublishedEvent]:
        """A writer begins, here or in a forked child, which lets go of its parent's files; the inbox for its events."""
        if self._arenas is not None:
            self._arenas.close(keep=True)
        for mark in (self._mark, self._stuck):
            if mark is not None:
                mark.forget_in_child()
        self._mark = self._stuck = None
        self._arenas = None
        self._writer_id = writer_id
        self._claimed = self._expected = 0
        self._looked_s = self._copied_s = time.monotonic()
        self._opening: list[None] = [None]  # whoever pops it opens
        self._has_failed = False
        self._problem: str | None = None
        self._unjournaled = Tally()
        if not self._is_full:
            return deque()
        self._inbox = inbox = _Inbox()
        inbox.append = self._first_append  # type: ignore[method-assign]  # spares each emit a call
        return inbox

    def claimed(self, number: int) -> None:
        """The hub's thread is about to have taken so many events in all."""
        self._claimed = number  # first: whoever opens meanwhile puts it down
        mark = self._mark
        if mark is None:
            self.open()
            return
        try:
            mark.words[CLAIMED] = number
            mark.words[TIME_NS] = time.time_ns()
        except ValueError:  # closed meanwhile
            return

    def waiting(self, length: int) -> None:
        """From this length of the inbox on a publisher says how many events wait there.

        The first event of a writer makes it come by, too: in a forked child that is when the mark is made, before its
        ``emit`` returns.
        """
        self._expected = length
        mark = self._mark
        if mark is None:
            self.open()
            return
        try:
            mark.words[WAITING] = length
        except ValueError:  # closed meanwhile
            return

    # -- for the recorder ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the files. Idempotent. In a forked child the hub's thread does it, or the first publisher."""
        mark = None
        try:
            try:
                self._opening.pop()
            except IndexError:
                return
            if not self._writer_id or self._is_closed or not self.is_possible(is_full=self._is_full):
                return
            mark = self._new_mark()
            if self._is_full:
                self._arenas = arenas = Arenas(mark, max_bytes=self._max_bytes, unjournaled=self._unjournaled)
                self._upkeep = Upkeep(arenas)
                recording = arenas.recording(deque.append.__get__(self._inbox))
                self._inbox.append = recording  # type: ignore[method-assign]  # as in begin()
            self._show(mark)
        except BaseException as error:
            if self._mark is None:
                if mark is not None:
                    mark.remove()
                if isinstance(error, OSError) and error.errno is not None:
                    self._problem = f"cannot make the mark of writer {self._writer_id} in '{self._folder}': {error}"
                    self._has_failed = True
                    return
                if not self._opening:  # an interrupt, perhaps before it was popped: the next one tries again
                    self._opening.append(None)
            raise

    def _new_mark(self, instead_of: Mark | None = None) -> Mark:
        return Mark(
            self._folder,
            self._writer_id,
            session_id=self._session_id,
            durability=self._durability,
            redaction=self._redaction,
            has_arenas=self._is_full,
            in_memory=self._is_in_memory,
            instead_of=instead_of,
        )

    def _show(self, mark: Mark) -> None:
        self._level(mark)  # what was said while there was none
        mark.words[TIME_NS] = time.time_ns()
        self._mark = mark
        self._level(mark)
        self._note()
        if mark.is_beside_against_will:
            self._problem = (
                f"cannot keep the journal of writer {self._writer_id} in memory: /dev/shm is full, or not writable; it "
                f"lies in '{self._folder}', where a disk that hangs may hold up the program; make room, or choose that "
                "with journal='disk'"
            )

    def _level(self, mark: Mark) -> None:
        # Until it is so: what others store between a look and a store of ours is gone, and they may not come again.
        while mark.words[CLAIMED] < self._claimed:
            mark.words[CLAIMED] = self._claimed
        while mark.words[WAITING] < self._expected:
            mark.words[WAITING] = self._expected

    def _note(self) -> None:
        if self._arenas is not None:
            self._arenas.note()

    def _look(self) -> None:
        """Once a second: is the mark there, which somebody may have removed with its folder, or can it be made now."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        if self._has_failed:
            self._has_failed = False
            self._opening.append(None)
            self.open()
        elif self._mark is not None and not self._mark.is_there():
            self._renew(self._mark)

    def _renew(self, mark: Mark) -> None:
        try:
            new = self._new_mark(instead_of=mark)
        except OSError as error:
            self._problem = f"cannot make the mark of writer {self._writer_id} again in '{self._folder}': {error}"
            return
        if self._arenas is not None:
            self._arenas.pool.move(new)
        self._show(new)
        new.take_over(mark)  # what was said to the other in between
        self._level(new)
        self._note()
        mark.withdraw()
        mark.forget()
        self._problem = (
            f"somebody removed the mark of writer {self._writer_id} from '{self._folder}'; it is there again"
        )

    @property
    def unjournaled(self) -> int:
        """Events that no arena could take: they survive a kill once they are committed."""
        return self._unjournaled.value

    @property
    def size_bytes(self) -> int:
        """What the arenas take of the memory that holds them, or of the disk."""
        return 0 if self._arenas is None else self._arenas.size_bytes

    def tidy(self, fence: Callable[[], Fence], *, accounted: int) -> None:
        """What is committed need not be kept; ``accounted`` events are missing, and a gap in the store says so.

        For the persister's thread, after each turn.
        """
        if not self._is_closed:
            self._look()
        mark, arenas = self._mark, self._arenas
        if mark is not None and not self._is_closed:
            try:
                mark.words[ACCOUNTED] = accounted
            except ValueError:  # closed meanwhile
                return
            if arenas is not None:
                self._upkeep.tidy(fence)
            if time.monotonic() - self._copied_s >= _COPY_EVERY_S:  # the next turn at rest makes it level
                self._copy(mark)
        self.complain()

    def note(self) -> None:
        """A turn begins, or its write is to be tried again: whoever finds nothing but the copy is to know about it.

        For the persister's thread.
        """
        mark = self._mark
        if mark is not None and not self._is_closed:
            self._copy(mark)

    def _copy(self, mark: Mark) -> None:
        self._copied_s = time.monotonic()
        try:
            mark.copy()
        except OSError as error:
            self._problem = f"cannot copy to '{mark.path}' how many events were published: {error}"

    def complain(self) -> None:
        """Log what went wrong since, once an interval."""
        unjournaled = self.unjournaled
        problem = self._problem or (self._arenas.why if self._arenas is not None else None)
        if problem is not None and (unjournaled > self._told or self._problem is not None):
            more = f"; {unjournaled:,} events survive a kill only once they are committed" if unjournaled else ""
            self.failures.add("journal", f"{problem}{more}")
            self._problem = None
            self._told = unjournaled

    def close(self, *, is_all_written: bool, is_disk_stuck: bool = False) -> None:
        """The writer has ended: remove its files or, if not all is written, leave them for the next to take in.

        A disk that may be stuck is not touched, not even by closing a file: :meth:`leave` does that. Idempotent.
        Publishers that are late are not journaled.
        """
        self._is_closed = True
        if self._arenas is not None:
            self._arenas.close(keep=is_disk_stuck or not is_all_written)
        mark = self._mark
        if mark is None:
            return
        if not is_all_written:
            mark.end()
        if is_disk_stuck:
            self._stuck = mark
        elif is_all_written:
            mark.remove()
        else:
            mark.forget()
        self._mark = None

    def leave(self) -> None:
        """The persister's thread is back from the disk, perhaps long after :meth:`close`: let go of the rest."""
        mark, self._stuck = self._stuck, None
        if mark is not None:
            mark.forget()

    def _first_append(self, event: PublishedEvent) -> None:
        """In a forked child, before the files are there."""
        inbox = self._inbox
        self.open()
        if self._arenas is None:  # they cannot be made, or another thread is about to
            self._unjournaled.increment()
            self._note()  # there may be some by now, and whoever made them may have looked before
            deque.append(inbox, event)
        else:
            inbox.append(event)


class _Inbox(deque[PublishedEvent]):
    """An inbox whose ``append`` can be replaced."""
