"""Arenas: those of one writer, and the inbox that writes into them before it takes an event.

A segment of an arena is in one place at a time: open, full, spare, in the hands of a publisher, or held back until
what is in it is committed. Publishers take an open one, write, and put it back: two steps of a ``deque``, so there is
no lock that a signal handler could find taken; whoever interrupts a publisher takes another segment.

Segments are small, and files are not: a handler that interrupts a handler costs 32 KiB, and a file keeps a descriptor
open. Who interrupts the making of a file takes a spare segment, or makes a file of one: on a slow disk signals come
faster than files, and each would make a large one on top of those it interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from zlib import crc32

from sonde.events import PublishedEvent
from sonde.journal.arena import Segment
from sonde.journal.mark import UNJOURNALED, Mark
from sonde.journal.pool import Pool
from sonde.journal.record import HEADER, OUR_ERRORS, encode, pack_record
from sonde.tally import Tally

SEGMENT_BYTES = 32 * 1024
FIRST_BYTES = 256 * 1024
LARGEST_BYTES = 4 * 1024 * 1024
"""Of arenas; one event larger than that gets an arena of its size."""
LARGE_BYTES = SEGMENT_BYTES // 2
"""An event of more that does not fit the open segment goes into an arena of one segment, so that little is wasted."""
RESERVE = 6
"""Spare segments that are kept for who cannot wait for more."""


class Arenas:
    """The arenas of one writer in this process.

    ``record`` may be called by any thread and in signal handlers; :class:`~sonde.journal.upkeep.Upkeep` does the rest.

    Attributes:
        pool: their files.
        open: segments that publishers take, write into and put back. Those in front are the ones in use.
        large: the same for large events; some are unwritten.
        spare: unwritten.
        full: written into, with no room for what came last.
    """

    def __init__(self, mark: Mark, *, max_bytes: int, unjournaled: Tally | None = None) -> None:
        """Make the first ones, where the mark says that they lie.

        ``max_bytes`` bounds them together: what exceeds it is not journaled, and counted, in ``unjournaled`` if that is
        given.
        """
        self.pool = Pool(mark, max_bytes=max_bytes)
        self.open: deque[Segment] = deque()
        self.large: deque[Segment] = deque()
        self.spare: deque[Segment] = deque()
        self.full: deque[Segment] = deque()
        self.unjournaled = Tally() if unjournaled is None else unjournaled
        """Events that no arena could take."""
        self.prepare()

    @property
    def why(self) -> str | None:
        """Why, the last time."""
        return self.pool.problem

    @property
    def size_bytes(self) -> int:
        """What they take of the memory that holds them, or of the disk."""
        return self.pool.size_bytes

    # -- for publishers: no lock, no exception -------------------------------------------------------------------------

    def recording(self, hand_over: Callable[[PublishedEvent], None]) -> Callable[[PublishedEvent], None]:
        """What journals an event and hands it over, in this order.

        A closure, since this is what ``emit`` waits for: 0.7 µs with an event of four keys.
        """
        take, put_back, record_slowly = self.open.pop, self.open.append, self._record_slowly
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
                        True,
                    )
                )
                written = pack(len(payload), checksum(payload)) + payload
                segment = take()
            except OUR_ERRORS:  # no segment is open, or what msgspec refuses
                record_slowly(event, hand, None)
                return
            # From here on the segment is in the list again whatever happens. A signal's exception just before loses it:
            # ``tidy`` finds it.
            try:
                at = segment.at
                end = at + len(written)
                if end <= segment.end:
                    segment.map[at:end] = written
                    segment.at = end
                    hand(event)  # before the segment is back: who finds it there finds its events in the inbox
                    if not segment.is_withdrawn:
                        return
                    hand = _hand_to_nobody
                    segment.map[at:end] = bytes(end - at)  # what stood before may be wiped: a hole looks like damage
            except ValueError:  # it was withdrawn a while ago, and its file is gone
                pass
            finally:
                put_back(segment)
            record_slowly(event, hand, written)

        return record

    def _record_slowly(
        self, event: PublishedEvent, hand_over: Callable[[PublishedEvent], None], record: bytes | None
    ) -> None:
        """Sanitise what must be, find a segment or make one, and hand over in any case."""
        segment = None
        is_written = False
        try:
            try:
                if record is None:
                    record = pack_record(event)
                segment = self._fitting(len(record))
                is_written = segment is not None and segment.write(record)
            except OUR_ERRORS as error:  # the event matters more than its copy
                self.pool.problem = f"{type(error).__name__}: {error}"
            if not is_written:
                self.unjournaled.increment()
                self.note()
            hand_over(event)
        finally:
            if segment is not None:
                self.put_back(segment)
        if (
            is_written and segment is not None and segment.is_withdrawn
        ):  # since, and perhaps wiped before the event came
            self._record_slowly(event, _hand_to_nobody, record)

    def note(self) -> None:
        """Put on the mark how many events no arena could take."""
        try:
            self.pool.mark.words[UNJOURNALED] = self.unjournaled.value
        except ValueError:  # closed meanwhile
            return

    def put_back(self, segment: Segment) -> None:
        """Where others find it, and what is in it."""
        if segment.end - segment.begin > SEGMENT_BYTES:
            self.large.append(segment)
        elif segment.at > segment.begin:
            self.open.append(segment)
        else:
            self.spare.append(segment)

    def _fitting(self, size_bytes: int) -> Segment | None:
        is_large = size_bytes > LARGE_BYTES
        source = self.large if is_large else self.open
        passed: list[Segment] = []
        try:
            while True:
                try:
                    segment = source.pop()
                except IndexError:
                    return self._alone(size_bytes) if is_large else self._fresh()
                if segment.is_withdrawn:
                    continue
                if segment.at + size_bytes <= segment.end:
                    return segment
                (self.full if segment.at > segment.begin else passed).append(segment)
        finally:
            source.extend(passed)

    def _fresh(self) -> Segment | None:
        """A spare segment, or one of a new file."""
        if len(self.spare) < RESERVE and not self.pool.is_making:
            self.grow(self.pool.grown(FIRST_BYTES, LARGEST_BYTES))
        while True:
            try:
                segment = self.spare.pop()
            except IndexError:
                arena = self.pool.make(SEGMENT_BYTES, segment_bytes=SEGMENT_BYTES)
                return None if arena is None else arena.segments[0]
            if not segment.is_withdrawn:
                return segment

    def grow(self, size_bytes: int) -> None:
        """Make more spare segments, if that is possible."""
        arena = self.pool.make(size_bytes, segment_bytes=SEGMENT_BYTES)
        if arena is not None:
            self.spare.extend(arena.segments)

    def _alone(self, size_bytes: int) -> Segment | None:
        """A segment that is an arena, with room for more of its kind unless this one is made in a hurry."""
        pool = self.pool
        arena = None
        if not pool.is_making:
            arena = pool.make(max(size_bytes, pool.grown(FIRST_BYTES, LARGEST_BYTES)))
        if arena is None:
            arena = pool.make(max(size_bytes, SEGMENT_BYTES + 1))
        return None if arena is None else arena.segments[0]

    # -- for the background --------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """See that there are spare segments, and an open one."""
        if len(self.spare) < RESERVE and not self.pool.is_making:
            self.grow(self.pool.grown(FIRST_BYTES, LARGEST_BYTES))
        if not self.open:
            try:
                self.open.append(self.spare.pop())
            except IndexError:  # no room, and that is told when it matters
                return

    def close(self, *, keep: bool) -> None:
        """Remove them, or leave the files for the next writer to take in. Idempotent."""
        self.pool.is_closed = True
        for segments in (self.open, self.large, self.spare, self.full):
            segments.clear()
        self.pool.close(keep=keep)


def _hand_to_nobody(event: PublishedEvent) -> None:
    """The event is in the inbox already."""
