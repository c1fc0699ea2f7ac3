"""Delivery: the half of a hub behind its inbox. Turns, and the thread that takes them."""

from __future__ import annotations

import sys
import time
from _thread import allocate_lock, get_ident
from collections import deque
from itertools import repeat, starmap
from typing import Any, NamedTuple

from sonde.clock import Clock
from sonde.events import PublishedEvent
from sonde.failures import FailureLog
from sonde.hub.admission import OVERLOADED, Admission
from sonde.hub.bell import Bell
from sonde.hub.bucket import TokenBucket
from sonde.hub.config import HubConfig
from sonde.hub.recording import RecorderSubscription
from sonde.hub.subscription import RATE_LIMITED, Subscription
from sonde.hub.thread import LazyThread
from sonde.hub.witness import Witness

FAILED = "failed"

# A ring that a signal's exception cut off is made good after this long at most.
_IDLE_CHECK_S = 0.25
# Events handed over at once, so that a persister can begin before a long backlog is through.
_CHUNK_EVENTS = 4096
_STEP_EVENTS = 512
# A claim is some microseconds long, or one switch of threads.
_PROGRESS_ATTEMPTS = 100


class _FlushRequest(NamedTuple):
    trim: bool
    done: Any  # a raw lock


class Progress(NamedTuple):
    """What became of events so far. Those that are ``waiting`` or claimed and not delivered are queued."""

    waiting: int
    claimed: int
    handed_over: int
    failed: int


class Delivery:
    """Takes turns: each empties the inbox into every subscription. One at a time, under the turn lock.

    Nothing else may run inside a turn for long; but *anything* may run in it for a moment, since the garbage collector
    runs finalizers on whatever thread allocates: an abandoned generator that closes its subscription or its hub. So
    nothing here waits for the turn lock, or for the hub's thread, on the thread that is it.
    """

    def __init__(
        self,
        inbox: deque[PublishedEvent],
        admission: Admission,
        *,
        config: HubConfig,
        session_id: str,
        clock: Clock,
        failures: FailureLog,
        witness: Witness | None = None,
    ) -> None:
        """Deliver what comes into ``inbox``; no thread is started yet."""
        self.live: tuple[Subscription, ...] = ()
        self.recorders: tuple[RecorderSubscription, ...] = ()
        self.past_live_dropped: dict[str, int] = {}
        """What closed live subscriptions missed, by reason."""
        self.is_closing = False
        self.is_finished = False
        """Whether the last event is delivered, and all subscriptions have ended."""
        self._inbox = inbox
        self._admission = admission
        self._witness = witness
        self._config = config
        self._session_id = session_id
        self._failures = failures
        self._bell = Bell()
        self._thread = LazyThread("sonde-hub", self._run)
        self._turn_lock = allocate_lock()
        self._turn_holder = 0  # thread ident
        self._claiming = False
        self._claimed = 0
        self._handed_over = 0
        self._failed = 0
        self._overlooked = 0
        self._leaving: deque[Subscription | RecorderSubscription] = deque()
        self._flush_requests: deque[_FlushRequest] = deque()
        self._finished = allocate_lock()  # held until the last event is delivered
        self._finished.acquire()
        rate = config.rate_limit
        self._bucket = None if rate is None else TokenBucket(rate, clock)

    # -- for publishers ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is enough to do for the hub's thread. Never blocks."""
        if self._thread.is_wanting:
            self._thread.start()
        self._bell.ring()

    # -- the hub's thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._admission.hub_ident = get_ident()
        try:
            while not self.is_finished:
                try:
                    found = self._take_turn()
                except Exception as error:  # noqa: BLE001 - a fault of ours, or no memory: this thread must not end
                    self._failures.add("turn", f"hub could not take a turn: {type(error).__name__}", error=error)
                    time.sleep(_IDLE_CHECK_S)  # it may go on failing
                else:
                    self._rest(found)
        finally:
            self._admission.hub_ident = 0  # the system gives the number to another thread

    def _rest(self, found: int) -> None:
        """Sleep until the next turn is due, after one that ``found`` so many events."""
        inbox, config, admission = self._inbox, self._config, self._admission
        if self.is_finished:
            return
        # After work: gather a batch for one interval. After nothing: sleep until the next event.
        wanted = min(config.batch_size, admission.limit) if found else 1
        admission.ask(wanted)
        self._bell.sleep(
            config.flush_interval_s if found else _IDLE_CHECK_S,
            lambda: len(inbox) >= wanted or self._flush_requests or self.is_closing,
        )
        admission.ask(admission.limit)

    def _take_turn(self) -> int:
        """Deliver all that was published before the call; says how many.

        By whoever holds the turn lock: the hub's thread or, where none can be had, a caller of flush or close.
        """
        with self._turn_lock:
            try:
                self._turn_holder = get_ident()
                return 0 if self.is_finished else self._deliver_inbox()
            finally:
                self._turn_holder = 0

    def _deliver_inbox(self) -> int:
        # In this order: what was published before a request, or before the end, is in the inbox when we look there.
        requests = list(self._flush_requests)
        closing = self.is_closing
        overloaded = self._admission.refused(OVERLOADED)
        self._let_go()
        found = pending = len(self._inbox)
        while pending:
            size = min(pending, _CHUNK_EVENTS)
            pending -= size
            try:
                self._deliver(self._claim(size))
                self._handed_over += size
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end delivery
                self._failed += size
                self._failures.add("deliver", f"cannot deliver {size} events: {type(error).__name__}", error=error)
        self._overlook(overloaded)
        for recorder in self.recorders:
            recorder.report_missed()
        self._admission.settle(self.recorders)
        if closing and not self._inbox:
            self._finish()
        self._let_go()
        for request in requests:
            if request.trim:
                self._trim()
            self._flush_requests.remove(request)
            request.done.release()
        return found

    def _claim(self, size: int) -> list[PublishedEvent]:
        self._claiming = True
        try:
            if self._witness is None:
                self._claimed += size
                return list(starmap(self._inbox.popleft, repeat((), size)))
            # In steps: until the inbox's new length is told, the witness takes those of a step for twice as many.
            batch: list[PublishedEvent] = []
            while len(batch) < size:
                step = min(size - len(batch), _STEP_EVENTS)
                self._witness.claimed(self._claimed + step)
                self._claimed += step
                batch.extend(starmap(self._inbox.popleft, repeat((), step)))
                self._admission.expect()
            return batch
        finally:
            self._claiming = False

    def _deliver(self, batch: list[PublishedEvent]) -> None:
        first = self._claimed - len(batch)
        for recorder in self.recorders:
            skip = recorder.start - first  # published before it subscribed
            recorder.offer(batch[skip:] if skip > 0 else batch)
        live = self.live
        if not live:
            return
        granted = len(batch) if self._bucket is None else self._bucket.take(len(batch))
        waiting = sum(subscription.backlog for subscription in live)
        for subscription in live:
            skip = max(0, subscription.start - first)
            others = waiting - subscription.backlog
            subscription.offer(
                batch[skip:granted] if skip or granted < len(batch) else batch, max(0, self._config.queue_size - others)
            )
            waiting = others + subscription.backlog
            if granted < len(batch):  # after the others: a gap lies where the events are missing
                subscription.refuse(batch[max(granted, skip) :], RATE_LIMITED)

    def _overlook(self, overloaded: int) -> None:
        missed = overloaded - self._overlooked
        if not missed:
            return
        self._overlooked = overloaded
        for recorder in self.recorders:
            recorder.overlook(self._session_id, OVERLOADED, missed)
        for subscription in self.live:
            subscription.overlook(OVERLOADED, missed)

    def _trim(self) -> None:
        for subscription in self.live:
            subscription.trim()

    def _finish(self) -> None:
        """The last event is delivered: end the subscriptions."""
        self._trim()
        for recorder in self.recorders:
            recorder.end()
        for subscription in self.live:
            subscription.end()
        self.is_finished = True
        self._finished.release()

    # -- joining and leaving -------------------------------------------------------------------------------------------

    def join(self, subscription: Subscription | RecorderSubscription) -> None:
        """Let a subscription see what is published from now on. Waits for the turn that is under way."""
        if self.is_inside:
            self._join(subscription)
            return
        with self._turn_lock:
            try:
                self._turn_holder = get_ident()
                self._join(subscription)
                self._let_go()
            finally:
                self._turn_holder = 0

    def _join(self, subscription: Subscription | RecorderSubscription) -> None:
        subscription.start = self._claimed + len(self._inbox)
        if isinstance(subscription, Subscription):
            if self.is_closing:
                subscription.end()
            else:
                self.live = (*self.live, subscription)
            return
        self.recorders = (*self.recorders, subscription)
        self._admission.settle(self.recorders)
        if self.is_closing:
            subscription.end()

    def leave(self, subscription_id: str) -> bool:
        """End a subscription; says whether there was one. Waits for the turn that is under way, unless it is inside."""
        members: tuple[Subscription | RecorderSubscription, ...] = (*self.live, *self.recorders)
        found = [member for member in members if member.id == subscription_id]
        if not found:
            return False
        # A request, which a later turn meets if a signal's exception ends this call.
        self._leaving.append(found[0])
        if not self.is_inside:
            with self._turn_lock:
                try:
                    self._turn_holder = get_ident()
                    self._let_go()
                finally:
                    self._turn_holder = 0
        return True

    def _let_go(self) -> None:
        while self._leaving:
            subscription = self._leaving[0]
            subscription.end()
            if subscription in self.recorders:
                self.recorders = tuple(other for other in self.recorders if other is not subscription)
                self._admission.settle(self.recorders)
            elif subscription in self.live and isinstance(subscription, Subscription):
                dropped = dict(self.past_live_dropped)
                for reason, number in subscription.stats().dropped.items():
                    dropped[reason] = dropped.get(reason, 0) + number
                remaining = tuple(other for other in self.live if other is not subscription)
                # Two stores with nothing between them at which an interrupt could strike: counted once.
                self.live = remaining
                self.past_live_dropped = dropped
            self._leaving.popleft()

    # -- waiting -------------------------------------------------------------------------------------------------------

    @property
    def is_inside(self) -> bool:
        """Whether this thread must not wait for a turn, since it is the one that takes it."""
        return get_ident() in (self._turn_holder, self._admission.hub_ident)

    def barrier(self, timeout_s: float | None, *, trim: bool) -> bool:
        """Wait for a turn that begins after the call. Says whether there was one."""
        if self.is_finished:
            return True
        done = allocate_lock()
        done.acquire()
        self._flush_requests.append(_FlushRequest(trim, done))
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._help():
            self._bell.ring()
            if done.acquire(timeout=_left_s(deadline_s)) or self.is_finished:
                return True
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return False
            self._thread.revive()
        return False

    def close(self) -> None:
        """Let the thread deliver what is queued, and end. Returns at once; idempotent."""
        self.is_closing = True
        self.wake()

    def finish(self) -> None:
        """End here and now, without a thread: where nothing is queued."""
        self.is_closing = True
        self._take_turn()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until the last event is delivered. Says whether it is."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.is_finished and not self.is_inside:
            if self.is_closing and not self._help():
                break
            if self._finished.acquire(timeout=_left_s(deadline_s)):
                self._finished.release()
            elif deadline_s is not None and time.monotonic() >= deadline_s:
                break
            elif self.is_closing:
                self._thread.revive()
        return self.is_finished

    def _help(self) -> bool:
        """Start the thread; take a turn here if there cannot be one. Whether waiting makes sense."""
        if self.is_inside:
            return False
        if sys.is_finalizing():  # the thread is frozen for good, perhaps in the middle of a turn
            if self._turn_lock.locked():
                return False
            self._take_turn()
            return True
        if self._thread.is_wanting:
            self._thread.start()
        if self._thread.is_wanting:
            self._take_turn()
        return True

    # -- the ledger ----------------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """What became of events, taken at one moment if that can be had within some tries."""
        for _ in range(_PROGRESS_ATTEMPTS):
            claiming, claimed, handed_over, failed = self._claiming, self._claimed, self._handed_over, self._failed
            progress = Progress(len(self._inbox), claimed, handed_over, failed)
            if not claiming and not self._claiming and claimed == self._claimed:
                break
            time.sleep(0)
        return progress


def _left_s(deadline_s: float | None) -> float:
    return _IDLE_CHECK_S if deadline_s is None else max(0.0, min(_IDLE_CHECK_S, deadline_s - time.monotonic()))
