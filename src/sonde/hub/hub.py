"""Hub: takes events from any thread without blocking, and hands them to subscriptions from a thread of its own."""

from __future__ import annotations

import os
import threading
import time
import weakref
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import count, repeat, starmap
from types import TracebackType
from typing import Any, NamedTuple, Self

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.context import current_scope
from sonde.events import Event, PublishedEvent
from sonde.failures import FailureLog
from sonde.hub.admission import CLOSED, INVALID, OVERLOADED, Admission
from sonde.hub.bell import Bell
from sonde.hub.bucket import TokenBucket
from sonde.hub.config import HubConfig, require_positive
from sonde.hub.recording import DEFAULT_MAX_PENDING_BYTES, Overflow, RecorderSubscription
from sonde.hub.stats import HubStats
from sonde.hub.subscription import RATE_LIMITED, Subscription

FAILED = "failed"

CLOSE_TIMEOUT_S = 30.0

# A ring that a signal's exception cut off is made good after this long at most.
_IDLE_CHECK_S = 0.25
# Events handed over at once, so that a persister can begin before a long backlog is through.
_CHUNK_EVENTS = 4096

_NO_DATA: dict[str, Any] = {}


class _FlushRequest(NamedTuple):
    turn: int
    """The first turn that has seen all that was published before the request."""
    trim: bool
    done: Any  # a raw lock


class Hub:
    """A non-blocking hub of events.

    The publishing thread does one atomic hand-over, ``deque.append``; all else is done by the hub's own daemon thread,
    which starts with the first event, and anew in a forked child. (If publishers delivered, an exception raised in one
    by Ctrl-C could lose the batch that it had taken, or leave a lock held.)

    ``session_id`` is the session of events that name none and are published where the context names none. All methods
    are thread-safe. ``publish`` and ``emit`` may also be called in signal handlers and ``__del__``; the others may not.

    >>> with Hub() as hub, hub.subscribe() as subscription:
    ...     hub.emit("greeting.said", text="hello")
    ...     subscription.get(timeout_s=5).data["text"]
    'hello'
    """

    def __init__(self, config: HubConfig | None = None, *, session_id: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
        """Make a hub; no thread is started yet."""
        self.config = config or HubConfig()
        self.session_id = session_id
        self._clock = clock
        self._time_ns = clock.time_ns
        self._live: tuple[Subscription, ...] = ()
        self._recorders: tuple[RecorderSubscription, ...] = ()
        self._past_live_dropped: dict[str, int] = {}
        self._names = count(1)
        self._closed = False
        self._begin()
        _HUBS.add(self)

    def _begin(self) -> None:
        """A fresh start, here and in a forked child: its own writer, nothing queued, nothing counted, no thread."""
        self.writer_id = os.urandom(8).hex()
        """Identity of this hub in this process; new after a fork. With ``seq`` it identifies an event everywhere."""
        self._next_seq = count(1).__next__
        self._inbox: deque[PublishedEvent] = deque()
        self._admission = Admission(self._inbox)
        self._attention = 1  # the inbox's length at which a publisher looks up
        self._bell = Bell()
        self._thread_tokens: list[None] = [None]  # whoever pops it starts the thread
        self._turn_lock = allocate_lock()
        self._claimed = 0
        self._handed_over = 0
        self._failed = 0
        self._overlooked = 0
        self._turn = 0
        self._flush_requests: deque[_FlushRequest] = deque()
        self._finished = allocate_lock()  # held until the last event is delivered
        self._finished.acquire()
        self._is_finished = False
        rate = self.config.rate_limit
        self._bucket = None if rate is None else TokenBucket(rate, self._clock)
        self.failures = FailureLog()
        if self._closed:
            self._admission.close()

    # -- publishing: nothing here may block, raise, or take a lock ------------------------------------------------------

    def emit(
        self,
        type: str,  # the word of the field, and positional-only
        data: Mapping[str, Any] | None = None,
        /,
        *,
        session_id: str | None = None,
        plan_id: str | None = None,
        task_id: str | None = None,
        **more: Any,
    ) -> None:
        """Publish an event made of ``data`` and keywords, in the scope of the context. Some 0.5 µs.

        Session, plan and task come from the context where they are ``None``; the operation that is open there becomes
        the event's parent. Never blocks, never raises because of telemetry, safe in signal handlers and ``__del__``.
        What cannot be taken is counted in :meth:`stats`. Whatever ``data`` holds is handed over: change it no more.
        """
        try:
            scope = current_scope()
            if more:
                data = {**data, **more} if data else more
            event = PublishedEvent(
                type,
                self._time_ns(),
                session_id if session_id is not None else (scope.session_id or self.session_id),
                plan_id if plan_id is not None else scope.plan_id,
                task_id if task_id is not None else scope.task_id,
                data if data is not None else _NO_DATA,  # type: ignore[arg-type]  # any mapping; the sanitiser makes it a dict
                scope.trace_id,
                "",
                scope.span_id,
                self.writer_id,
                self._next_seq(),
            )
        except Exception:  # noqa: BLE001  # telemetry never raises; what is wrong is counted
            self._admission.refuse(INVALID)
            return
        if self._admission.gate and not self._admission.admit():
            return
        self._inbox.append(event)
        if len(self._inbox) >= self._attention:
            self._attend()

    def publish(self, event: Event) -> None:
        """Publish a copy of ``event``, stamped with its identity, with the time if it has none, and with the hub's session
        if it names none. As :meth:`emit`: never blocks, never raises, safe in signal handlers and ``__del__``.
        """
        try:
            stamped = PublishedEvent(
                event.type,
                event.time_ns or self._time_ns(),
                event.session_id or self.session_id,
                event.plan_id,
                event.task_id,
                event.data,
                event.trace_id,
                event.span_id,
                event.parent_id,
                self.writer_id,
                self._next_seq(),
            )
        except Exception:  # noqa: BLE001  # telemetry never raises; what is wrong is counted
            self._admission.refuse(INVALID)
            return
        if self._admission.gate and not self._admission.admit():
            return
        self._inbox.append(stamped)
        if len(self._inbox) >= self._attention:
            self._attend()

    def _attend(self) -> None:
        """There is enough to do for the hub's thread, or too much for memory."""
        if self._thread_tokens:
            self._start_thread()
        self._bell.ring()
        self._admission.look()

    def _start_thread(self) -> None:
        try:
            self._thread_tokens.pop()
        except IndexError:
            return
        try:
            # Not threading.Thread: its start() takes locks, on which a signal handler could deadlock, and waits.
            start_new_thread(self._run, ())
        except (
            RuntimeError
        ):  # no thread to be had now, as at interpreter shutdown; flush and close deliver by themselves
            self._thread_tokens.append(None)

    # -- the hub's thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        inbox, config = self._inbox, self.config
        threading.current_thread().name = "sonde-hub"
        while True:
            try:
                found = self._take_turn()
            except Exception as error:  # noqa: BLE001  # a fault of ours, or no memory: this thread must not end
                self.failures.add("turn", f"hub could not take a turn: {error!r}", error=error)
                found = 0
            if self._is_finished:
                return
            if inbox and (self._closed or len(inbox) >= config.batch_size):
                continue
            # After work: gather a batch for one interval. After nothing: sleep until the next event.
            self._attention = wanted = min(config.batch_size, self._admission.limit) if found else 1
            self._bell.sleep(
                config.flush_interval_s if found else _IDLE_CHECK_S,
                lambda wanted=wanted: len(inbox) >= wanted or self._flush_requests or self._closed,  # type: ignore[misc]
            )
            self._attention = self._admission.limit

    def _take_turn(self) -> int:
        """Deliver all that was published before the call; says how many. By whoever holds the turn lock: the hub's thread,
        or in its absence a caller of flush or close.
        """
        with self._turn_lock:
            turn = self._turn + 1
            requests = [request for request in list(self._flush_requests) if request.turn <= turn]
            closing = self._closed
            overloaded = self._admission.refused(OVERLOADED)
            found = pending = len(self._inbox)
            while pending:
                size = min(pending, _CHUNK_EVENTS)
                pending -= size
                self._claimed += size
                batch = list(starmap(self._inbox.popleft, repeat((), size)))
                try:
                    self._deliver(batch)
                    self._handed_over += size
                except Exception as error:  # noqa: BLE001  # a fault of ours must not end delivery
                    self._failed += size
                    self.failures.add("deliver", f"cannot deliver {size} events: {error!r}", error=error)
            self._overlook(overloaded)
            for recorder in self._recorders:
                recorder.report_missed()
            self._admission.settle(self._recorders)
            if closing and not self._inbox:
                self._finish()
            self._turn = turn
            for request in requests:
                if request.trim:
                    self._trim()
                self._flush_requests.remove(request)
                request.done.release()
        return found

    def _deliver(self, batch: list[PublishedEvent]) -> None:
        for recorder in self._recorders:
            recorder.offer(batch)
        live = self._live
        if not live:
            return
        first = self._claimed - len(batch)
        if self._bucket is not None and (granted := self._bucket.take(len(batch))) < len(batch):
            for subscription in live:
                subscription.refuse(batch[max(granted, subscription.start - first) :], RATE_LIMITED)
            batch = batch[:granted]
        for subscription in live:
            spare = self.config.queue_size - sum(other.backlog for other in live if other is not subscription)
            skip = subscription.start - first  # published before it subscribed
            subscription.offer(batch[skip:] if skip > 0 else batch, max(0, spare))

    def _overlook(self, overloaded: int) -> None:
        missed = overloaded - self._overlooked
        if not missed:
            return
        self._overlooked = overloaded
        for recorder in self._recorders:
            recorder.overlook(self.session_id, OVERLOADED, missed)
        for subscription in self._live:
            subscription.overlook(OVERLOADED, missed)

    def _trim(self) -> None:
        for subscription in self._live:
            subscription.trim()

    def _finish(self) -> None:
        """The last event is delivered: end the subscriptions."""
        self._trim()
        for recorder in self._recorders:
            recorder.end()
        for subscription in self._live:
            subscription.end()
        self._is_finished = True
        self._finished.release()

    # -- subscribing -----------------------------------------------------------------------------------------------------

    def subscribe(
        self, *, types: Iterable[str] | None = None, session_id: str | None = None, queue_size: int | None = None
    ) -> Subscription:
        """Subscribe to events published from now on, perhaps only of some types or of one session.

        ``queue_size`` bounds what it holds by itself (``subscriber_queue_size`` of the configuration by default). On a
        closed hub the subscription has ended already. Waits for the delivery that is under way.
        """
        if queue_size is not None:
            require_positive("Hub.subscribe", "queue_size", queue_size, whole=True)
        with self._turn_lock:
            subscription = Subscription(
                f"sub-{next(self._names)}",
                self,
                types=types,
                session_id=session_id,
                queue_size=queue_size or self.config.subscriber_queue_size,
                start=self._claimed + len(self._inbox),
                clock=self._clock,
            )
            if self._closed:
                subscription.end()
            else:
                self._live = (*self._live, subscription)
        return subscription

    def subscribe_recorder(
        self, *, max_pending_bytes: int = DEFAULT_MAX_PENDING_BYTES, overflow: Overflow = "drop"
    ) -> RecorderSubscription:
        """Subscribe a persister: every event from now on, whatever the live bounds are, until so many bytes wait.

        With ``overflow="block"`` publishers wait for room, off the main thread and off event loops only and for at most
        one second each time; then, and elsewhere, the event is dropped and counted as ``overloaded``.
        """
        require_positive("Hub.subscribe_recorder", "max_pending_bytes", max_pending_bytes, whole=True)
        with self._turn_lock:
            recorder = RecorderSubscription(
                f"rec-{next(self._names)}", self._settle, max_pending_bytes=max_pending_bytes, overflow=overflow
            )
            self._recorders = (*self._recorders, recorder)
            self._admission.settle(self._recorders)
            if self._closed:
                recorder.end()
        return recorder

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription by its id; what was queued can still be read. Idempotent: says whether there was one."""
        with self._turn_lock:
            for recorder in self._recorders:
                if recorder.id == subscription_id:
                    self._recorders = tuple(other for other in self._recorders if other is not recorder)
                    recorder.end()
                    self._admission.settle(self._recorders)
                    return True
            for subscription in self._live:
                if subscription.id == subscription_id:
                    self._live = tuple(other for other in self._live if other is not subscription)
                    for reason, dropped in subscription.stats().dropped.items():
                        self._past_live_dropped[reason] = self._past_live_dropped.get(reason, 0) + dropped
                    subscription.end()
                    return True
        return False

    # -- flushing and closing --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return when everything published before the call has been handed to every subscription.

        Does not wait for a consumer: what does not fit its queue is dropped for it, counted, and shown as a gap.
        """
        self._barrier(None, trim=True)

    def _settle(self, timeout_s: float | None) -> bool:
        return self._barrier(timeout_s, trim=False)

    def _barrier(self, timeout_s: float | None, *, trim: bool) -> bool:
        """Wait for a turn that begins after the call, taking it here if the hub has no thread."""
        if self._is_finished:
            return True
        done = allocate_lock()
        done.acquire()
        # A turn that runs now may have looked at the inbox before our caller's events came: the next one counts.
        request = _FlushRequest(self._turn + (2 if self._turn_lock.locked() else 1), trim, done)
        self._flush_requests.append(request)
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self._thread_tokens:
                self._start_thread()
            if self._thread_tokens:
                self._take_turn()
            self._bell.ring()
            if done.acquire(timeout=_IDLE_CHECK_S if deadline_s is None else _left_s(deadline_s)) or self._is_finished:
                return True
            if deadline_s is not None and time.monotonic() >= deadline_s:
                return False

    def stop(self) -> None:
        """Take no more events and let the hub's thread deliver what is queued. Returns at once; idempotent."""
        self._closed = True
        self._admission.close()
        if self._thread_tokens:
            self._start_thread()
        self._bell.ring()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait after :meth:`stop` until all is delivered and the subscriptions have ended. Says whether they have."""
        if not self._closed and timeout_s is None:
            timeout_s = float("inf")
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_finished:
            if self._closed and self._thread_tokens:  # no thread to be had
                self._take_turn()
                continue
            left_s = _IDLE_CHECK_S if deadline_s is None else _left_s(deadline_s)
            if self._finished.acquire(timeout=left_s):
                self._finished.release()
            elif deadline_s is not None and time.monotonic() >= deadline_s:
                break
        return self._is_finished

    def close(self) -> None:
        """Stop and wait: deliver what is queued, end the subscriptions. Idempotent; 30 s at most, then it logs."""
        self.stop()
        if not self.wait(CLOSE_TIMEOUT_S):
            self.failures.add(
                "close", f"hub did not finish in {CLOSE_TIMEOUT_S:g} s: {len(self._inbox)} events are left"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the ledger --------------------------------------------------------------------------------------------------------

    @property
    def dropped_events(self) -> int:
        """Events that the hub dropped and that live subscriptions missed, for all reasons."""
        stats = self.stats()
        return sum(stats.dropped.values()) + sum(stats.live_dropped.values())

    def stats(self) -> HubStats:
        """The ledger. Exact at any quiet moment; while events flow, its columns are read one after another."""
        waiting = len(self._inbox)
        dropped = {reason: self._admission.refused(reason) for reason in (CLOSED, OVERLOADED, INVALID)}
        dropped[FAILED] = self._failed
        if self._is_finished:  # came past the gate while it closed, and too late
            dropped[CLOSED] += waiting
            waiting = 0
        live = tuple(subscription.stats() for subscription in self._live)
        live_dropped = dict(self._past_live_dropped)
        for row in live:
            for reason, number in row.dropped.items():
                live_dropped[reason] = live_dropped.get(reason, 0) + number
        queued = waiting + self._claimed - self._handed_over - self._failed
        return HubStats(
            subscriber_count=len(self._live) + len(self._recorders),
            queue_size=self.config.queue_size,
            queued=queued,
            batch_size=self.config.batch_size,
            rate_limit=self.config.rate_limit,
            published=self._handed_over + queued + sum(dropped.values()),
            handed_over=self._handed_over,
            dropped={reason: number for reason, number in dropped.items() if number},
            live_dropped=live_dropped,
            subscriptions=live,
            recorders=tuple(recorder.stats() for recorder in self._recorders),
        )

    def _after_fork_in_child(self) -> None:
        for subscription in self._live:
            subscription.reset()
        for recorder in self._recorders:
            recorder.reset()
        self._begin()
        for subscription in self._live:
            subscription.start = 0


def _left_s(deadline_s: float) -> float:
    return max(0.0, min(_IDLE_CHECK_S, deadline_s - time.monotonic()))


_HUBS: weakref.WeakSet[Hub] = weakref.WeakSet()


def _restart_hubs() -> None:
    for hub in list(_HUBS):
        hub._after_fork_in_child()  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_hubs)
