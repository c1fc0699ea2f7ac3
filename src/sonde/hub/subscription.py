"""Subscription: a live, bounded view of what is published, for threads and for asyncio."""

from __future__ import annotations

import time
from _thread import allocate_lock
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import repeat, starmap
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import ConfigError
from sonde.events import EventType, PublishedEvent
from sonde.hub.bell import LONGEST_WAIT_S
from sonde.hub.config import require_positive
from sonde.hub.stats import SubscriptionStats

if TYPE_CHECKING:
    import asyncio

QUEUE_FULL = "queue_full"
SUBSCRIBER_FULL = "subscriber_full"
RATE_LIMITED = "rate_limited"


class _Owner(Protocol):
    def unsubscribe(self, subscription_id: str) -> bool: ...


class GapEvent(PublishedEvent, frozen=True, gc=False):
    """The ``sonde.gap`` that tells a subscriber how many events it missed, in the place where they are missing."""


class Subscription:
    """What ``hub.subscribe()`` gives: iterate it, ``async for`` it, or call :meth:`get`.

    It holds events for its consumer up to a bound; past it the newest are dropped *for this subscription*, counted, and
    shown as a ``sonde.gap`` event right before the next one, ``data = {"missed": n, "reasons": {...}}``.

    Any number of threads and event loops may consume one subscription at once; each event goes to one of them.
    Iteration ends when the subscription or its hub is closed and what was queued has been read.

    >>> from sonde.hub import Hub
    >>> with Hub() as hub, hub.subscribe(types=["tool.completed"]) as subscription:
    ...     hub.emit("tool.completed", tool="read_file")
    ...     hub.emit("something.else")
    ...     event = subscription.get(timeout_s=5)
    >>> event.data
    {'tool': 'read_file'}
    """

    # The plain counters below are written under the hub's turn lock alone; consumers only pop.

    def __init__(
        self,
        subscription_id: str,
        owner: _Owner,
        *,
        types: Iterable[str] | None = None,
        session_id: str | None = None,
        queue_size: int,
        start: int = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Made by ``Hub.subscribe``. ``start`` is the number of the first event that it may see."""
        self.id = subscription_id
        """Name of the subscription, for ``hub.unsubscribe``."""
        self.queue_size = queue_size
        self.start = start
        self._owner = owner
        if isinstance(types, str):
            raise ConfigError(f"Hub.subscribe: types is {types!r}; expected several event types; pass [{types!r}]")
        self._types = None if types is None else frozenset(types)
        self._session_id = session_id
        self._clock = clock
        self._ended = False
        self.reset()

    def reset(self) -> None:
        """Forget everything queued and counted: in a forked child, where the parent's copy goes on."""
        self._queue: deque[PublishedEvent] = deque()
        self._sleepers: deque[Callable[[], object]] = deque()
        self._offered = 0
        self._dropped: dict[str, int] = {}
        self._missed: dict[str, int] = {}

    # -- the hub's side ------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Events held beyond the subscription's own queue: they take room in the hub's ``queue_size``."""
        return max(0, len(self._queue) - self.queue_size)

    def offer(self, events: Sequence[PublishedEvent], spare: int) -> None:
        """Take what is asked for and fits into the own queue plus ``spare``; the newest are missed."""
        events = self._wanted(events)
        if not events or self._ended:
            return
        self._offered += len(events)
        room = max(0, self.queue_size + spare - len(self._queue))
        if room < len(events):
            self._drop(QUEUE_FULL, len(events) - room)
        if room:
            if self._missed:
                self._announce_gap()
            self._queue.extend(events[:room] if room < len(events) else events)
            self._wake()
        if room < len(events):
            self._missed[QUEUE_FULL] = self._missed.get(QUEUE_FULL, 0) + len(events) - room

    def refuse(self, events: Sequence[PublishedEvent], reason: str) -> None:
        """Count events that were this subscription's, and do not reach it for ``reason``."""
        count = len(self._wanted(events))
        if count and not self._ended:
            self._offered += count
            self._drop(reason, count)
            self._missed[reason] = self._missed.get(reason, 0) + count

    def overlook(self, reason: str, count: int) -> None:
        """Let the next gap say that ``count`` events were offered to nobody, of whatever kind they were."""
        self._missed[reason] = self._missed.get(reason, 0) + count

    def trim(self) -> None:
        """Cut what waits beyond the own queue: ``flush`` and ``close`` do not wait for a consumer."""
        while len(self._queue) > self.queue_size:
            try:
                event = self._queue.pop()
            except IndexError:
                return
            if isinstance(event, GapEvent):
                for reason, count in event.data["reasons"].items():
                    self._missed[reason] = self._missed.get(reason, 0) + count
            else:
                self._drop(SUBSCRIBER_FULL, 1)
                self._missed[SUBSCRIBER_FULL] = self._missed.get(SUBSCRIBER_FULL, 0) + 1

    def end(self) -> None:
        """No event comes any more; say what was missed last, and wake all consumers."""
        if self._ended:
            return
        if self._missed:
            self._announce_gap()
        self._ended = True
        self._wake()

    def _wanted(self, events: Sequence[PublishedEvent]) -> Sequence[PublishedEvent]:
        # Types and ids are exact strings by now (publish sees to it): no foreign code runs here.
        if self._types is not None:
            events = [event for event in events if event.type in self._types]
        if self._session_id is not None:
            events = [event for event in events if event.session_id == self._session_id]
        return events

    def _drop(self, reason: str, count: int) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def _announce_gap(self) -> None:
        reasons = self._missed
        gap = GapEvent(
            EventType.GAP.value,
            self._clock.time_ns(),
            self._session_id or "",
            data={"missed": sum(reasons.values()), "reasons": reasons, "subscription": self.id},
        )
        self._missed = {}  # no interrupt comes between this and the call below: it would lose the gap or double it
        self._queue.append(gap)

    def _wake(self) -> None:
        while self._sleepers:
            try:
                wake = self._sleepers.popleft()
            except IndexError:
                return
            wake()

    # -- the consumer's side -------------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Events that this subscription missed, for all reasons."""
        return sum(self._dropped.values())

    @property
    def ended(self) -> bool:
        """Whether nothing more will be queued. What is queued can still be read."""
        return self._ended

    def stats(self) -> SubscriptionStats:
        """The ledger of this subscription. Exact whenever nothing is being delivered or taken, and never negative."""
        # In this order an event that moves meanwhile, from offered to queued to dropped, is never counted twice.
        dropped = dict(self._dropped)
        queued = sum(type(event) is not GapEvent for event in self._queue.copy())
        offered = self._offered
        return SubscriptionStats(self.id, offered, offered - sum(dropped.values()) - queued, queued, dropped)

    def get(self, timeout_s: float | None = None) -> PublishedEvent | None:
        """The next event; ``None`` once ``timeout_s`` seconds brought none, or the subscription has ended.

        Blocks the calling thread (``timeout_s=0``: never); Ctrl-C interrupts it.
        """
        batch = self._take_blocking(1, timeout_s)
        return batch[0] if batch else None

    def batches(self, max_size: int | None = None) -> Batches:
        """Iterate, ``for`` or ``async for``, over lists of what is there, each of at least one event."""
        if max_size is not None:
            require_positive("Subscription.batches", "max_size", max_size, whole=True)
        return Batches(self, max_size)

    def __iter__(self) -> Iterator[PublishedEvent]:
        """Events until the end; blocks while there is none."""
        while (event := self.get()) is not None:
            yield event

    async def __aiter__(self) -> AsyncIterator[PublishedEvent]:
        """Events until the end, without blocking the loop."""
        while batch := await self.take_async(1):
            yield batch[0]

    def _take(self, limit: int | None) -> list[PublishedEvent]:
        """What is there, at most ``limit``."""
        batch: list[PublishedEvent] = []
        try:
            # One call into C: an interrupt finds each event in the queue or in the batch.
            batch.extend(starmap(self._queue.popleft, repeat((), len(self._queue) if limit is None else limit)))
        except IndexError:
            return batch  # empty, or another consumer was faster
        return batch

    def _take_blocking(self, limit: int | None, timeout_s: float | None) -> list[PublishedEvent]:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            ended = self._ended  # looked at first: what is queued before the end is never missed
            if (batch := self._take(limit)) or ended:
                return batch
            left_s = -1.0 if deadline_s is None else min(deadline_s - time.monotonic(), LONGEST_WAIT_S)
            if deadline_s is not None and left_s <= 0:
                return batch
            lock = allocate_lock()
            lock.acquire()
            wake = lock.release
            self._sleepers.append(wake)
            try:
                if not self._queue and not self._ended:
                    lock.acquire(timeout=left_s)
            finally:
                self._forget(wake)

    async def take_async(self, limit: int | None = None) -> list[PublishedEvent]:
        """What is there, at most ``limit``, waiting for the first; empty at the end."""
        import asyncio  # on first use: a program without asyncio need not load it

        while True:
            ended = self._ended
            if (batch := self._take(limit)) or ended:
                return batch
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            wake = _FutureWaker(loop, future)
            self._sleepers.append(wake)
            try:
                if not self._queue and not self._ended:
                    await future
            finally:
                self._forget(wake)

    def _forget(self, wake: Callable[[], object]) -> None:
        try:
            self._sleepers.remove(wake)
        except ValueError:
            return  # it was called

    def close(self) -> None:
        """Unsubscribe. Idempotent, from any thread; what was queued can still be read."""
        self._owner.unsubscribe(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Batches:
    """Lists of events, as they come."""

    def __init__(self, subscription: Subscription, max_size: int | None) -> None:
        """Made by ``Subscription.batches``."""
        self._subscription = subscription
        self._max_size = max_size

    def __iter__(self) -> Iterator[list[PublishedEvent]]:
        """Lists until the end; blocks while there is nothing."""
        while batch := self._subscription._take_blocking(self._max_size, None):  # its own other half
            yield batch

    async def __aiter__(self) -> AsyncIterator[list[PublishedEvent]]:
        """Lists until the end, without blocking the loop."""
        while batch := await self._subscription.take_async(self._max_size):
            yield batch


class _FutureWaker:
    """Completes a future from another thread."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
        self._loop = loop
        self._future = future

    def __call__(self) -> None:
        try:
            self._loop.call_soon_threadsafe(_complete, self._future)
        except Exception:  # noqa: BLE001 - a loop that is closed, and its consumer gone with it; whatever loop it is
            return


def _complete(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
