"""RecorderSubscription: everything, in order, bounded only by memory. What a persister reads."""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from sonde.events import PublishedEvent
from sonde.hub.bell import Bell
from sonde.hub.stats import SubscriptionStats

PENDING_FULL = "pending_full"

Overflow = Literal["drop", "block"]

DEFAULT_MAX_PENDING_BYTES = 256 * 1024 * 1024

# A PublishedEvent with a dict of four keys and small values, in CPython 3.11: struct 120, dict 232, numbers and ids
# some 150 bytes. Text is added as it is.
_EVENT_BYTES = 512
_MISSED_KEPT = 1_000
# Of a list at most 16 items are looked at, of each list in it 8, and so on: lists that hold each other many times over
# would otherwise keep the hub's thread for hours.
_DEPTH = 5


class Missed(NamedTuple):
    """Events that a recorder did not get: of which session, why, how many."""

    session_id: str
    reason: str
    number: int


class Chunk(NamedTuple):
    """What the hub's thread hands over at once; ``missed`` lies before its ``events``."""

    events: Sequence[PublishedEvent]
    estimated_bytes: int
    missed: tuple[Missed, ...]


class RecorderSubscription:
    """Gets every event, whatever the live bounds and the rate limit are, until ``max_pending_bytes`` wait.

    The hub's thread offers, one persister takes: it calls :meth:`take`, writes, and then :meth:`release`, so that the
    bytes count until they are safe. Past the bound, ``overflow="drop"`` drops the newest, counts them and tells the
    persister in their place; ``overflow="block"`` lets publishers wait (see ``Hub.subscribe_recorder``).
    """

    def __init__(
        self,
        subscription_id: str,
        barrier: Callable[[float | None], bool],
        *,
        max_pending_bytes: int,
        overflow: Overflow,
        session_id: str = "",
        start: int = 0,
    ) -> None:
        """Made by ``Hub.subscribe_recorder``. ``start`` is the number of the first event that it may see."""
        self.id = subscription_id
        self.start = start
        self._session_id = session_id
        self.max_pending_bytes = max_pending_bytes
        self.overflow = overflow
        self._barrier = barrier
        self.ended = False
        self.reset()

    def reset(self) -> None:
        """Forget everything queued and counted: in a forked child, where the parent's copy goes on."""
        self._chunks: deque[Chunk] = deque()
        self._missed: dict[tuple[str, str], int] = {}
        self._accepted = 0
        self._dropped: dict[str, int] = {}
        self._queued_bytes = 0
        self._released_bytes = 0
        self._released = 0
        self._stuck_at_bytes = -1  # what was released when something was last missed
        self.reader_ident = 0
        """The thread that takes. A finalizer that publishes there must not wait for it."""
        self.bell = Bell()

    @property
    def pending_bytes(self) -> int:
        """Estimated bytes of what was handed over and is not yet released."""
        return self._queued_bytes - self._released_bytes

    @property
    def accepted(self) -> int:
        """Events queued so far. Only the hub's thread raises it."""
        return self._accepted

    @property
    def released(self) -> int:
        """Events that the persister has done with so far."""
        return self._released

    @property
    def is_full(self) -> bool:
        """Whether the bound on pending bytes is reached."""
        return self.pending_bytes >= self.max_pending_bytes

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._chunks

    def events_within_bound(self, event_bytes: int) -> int:
        """How many events fit ``max_pending_bytes``, by the average so far (``event_bytes`` while there is none)."""
        if not self._queued_bytes:
            return self.max_pending_bytes // event_bytes
        return self.max_pending_bytes * self._accepted // self._queued_bytes

    # -- for the hub's thread ------------------------------------------------------------------------------------------

    def offer(self, events: Sequence[PublishedEvent]) -> None:
        """Queue events, or as many of the oldest as the bound allows."""
        size_bytes = estimate_bytes(events)
        room_bytes = self.max_pending_bytes - self.pending_bytes
        if size_bytes <= room_bytes or self.overflow == "block":
            self._queue(events, size_bytes)
            return
        kept = max(0, len(events) * room_bytes // size_bytes)
        self._queue(events[:kept], estimate_bytes(events[:kept]))
        self.refuse(events[kept:], PENDING_FULL)

    def refuse(self, events: Sequence[PublishedEvent], reason: str) -> None:
        """Count events that do not reach the persister for ``reason``, and let the next gap say so."""
        self._dropped[reason] = self._dropped.get(reason, 0) + len(events)
        self._stuck_at_bytes = self._released_bytes
        for event in events:
            self.overlook(event.session_id, reason, 1)

    def overlook(self, session_id: str, reason: str, count: int) -> None:
        """Let the next gap say that events of a session were offered to nobody.

        While nothing can be written, sessions come and go: of 1,000 each has a gap of its own, of the others the
        hub's own has one for all.
        """
        key = session_id, reason
        if len(self._missed) >= _MISSED_KEPT and key not in self._missed:
            key = self._session_id, reason
        self._missed[key] = self._missed.get(key, 0) + count

    def report_missed(self) -> None:
        """Hand over what was missed although no event follows, once the persister has moved on since.

        Not merely once there is room: what is too little for one event would let a gap in at each turn, for as long as
        the store is away.
        """
        if self._missed and (self._released_bytes != self._stuck_at_bytes or not self.pending_bytes):
            self._chunks.append(Chunk((), 0, self._take_missed()))
            self.bell.ring()

    def end(self) -> None:
        """No event comes any more. What was missed last goes into a chunk of its own. Idempotent."""
        if self._missed:
            self._chunks.append(Chunk((), 0, self._take_missed()))
        self.ended = True
        self.bell.ring()

    def _queue(self, events: Sequence[PublishedEvent], size_bytes: int) -> None:
        if events:
            # Counted first: a flush that waits for ``accepted`` is never content with too little, and never waits for
            # an event that is dropped.
            self._queued_bytes += size_bytes
            self._accepted += len(events)
            self._chunks.append(Chunk(events, size_bytes, self._take_missed() if self._missed else ()))
            self.bell.ring()

    def _take_missed(self) -> tuple[Missed, ...]:
        missed = tuple(Missed(session_id, reason, count) for (session_id, reason), count in self._missed.items())
        self._missed.clear()
        return missed

    # -- for the persister ---------------------------------------------------------------------------------------------

    def take(self, *, max_events: int, max_bytes: int) -> list[Chunk]:
        """The oldest chunks, until either bound is reached; at least one if any is there. Does not block."""
        self.reader_ident = get_ident()
        chunks: list[Chunk] = []
        events = size_bytes = 0
        while self._chunks and events < max_events and size_bytes < max_bytes:
            chunk = self._chunks.popleft()
            chunks.append(chunk)
            events += len(chunk.events)
            size_bytes += chunk.estimated_bytes
        return chunks

    def release(self, chunks: Sequence[Chunk]) -> None:
        """The persister is done with these: they no longer count as pending."""
        self._released += sum(len(chunk.events) for chunk in chunks)
        self._released_bytes += sum(chunk.estimated_bytes for chunk in chunks)

    def settle(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was published before the call is queued here (or was dropped). Says whether it is."""
        return self._barrier(timeout_s)

    def stats(self) -> SubscriptionStats:
        """The ledger: ``taken`` are the events that the persister has released."""
        released = self._released
        accepted = self._accepted
        dropped = dict(self._dropped)
        return SubscriptionStats(self.id, accepted + sum(dropped.values()), released, accepted - released, dropped)


def estimate_bytes(events: Sequence[PublishedEvent]) -> int:
    """What the events hold in memory, roughly: exact for text, by the item for the rest. Some 0.2 µs an event."""
    total = _EVENT_BYTES * len(events)
    for event in events:
        if type(event.data) is not dict:  # foreign code, which has no business on the hub's thread
            total += _EVENT_BYTES
            continue
        try:
            for value in event.data.values():
                kind = type(value)
                if kind is str:
                    total += len(value)
                elif kind is not int and kind is not float and kind is not bool and value is not None:
                    total += _estimate_value(value, _DEPTH)
        except RuntimeError:  # its owner changes it meanwhile
            total += _EVENT_BYTES
    return total


def _estimate_value(value: object, depth: int) -> int:
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        return 64 + len(value)  # type: ignore[arg-type]  # its exact type is known
    if not depth:
        return 64
    if kind is dict:
        return 232 + _estimate_items(value.values(), len(value), depth)  # type: ignore[attr-defined,arg-type]  # a dict
    if kind is list or kind is tuple or kind is set:
        return 88 + _estimate_items(value, len(value), depth)  # type: ignore[arg-type]  # one of the three
    return 64


def _estimate_items(items: Iterable[object], count: int, depth: int) -> int:
    # The first few stand for all: a list of a million numbers must not stop the hub's thread.
    sample = [_estimate_value(item, depth - 1) for item in islice(items, 1 << (depth - 1))]
    return count * (40 + sum(sample) // max(1, len(sample)))
