"""Hub: takes events from any thread without blocking, and hands them to subscriptions from a thread of its own."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.context import current_scope
from sonde.events import Event, PublishedEvent
from sonde.failures import FailureLog
from sonde.hub.admission import CLOSED, INVALID, OVERLOADED, Admission
from sonde.hub.config import HubConfig, require_positive
from sonde.hub.conformity import OUR_ERRORS, plain_event, plain_mapping, plain_text
from sonde.hub.delivery import FAILED, Delivery, Progress
from sonde.hub.recording import DEFAULT_MAX_PENDING_BYTES, Overflow, RecorderSubscription
from sonde.hub.stats import HubStats
from sonde.hub.subscription import Subscription
from sonde.hub.witness import Witness

CLOSE_TIMEOUT_S = 30.0

_kind_of = type  # ``emit`` has an argument of that name


class Hub:
    """A non-blocking hub of events.

    The publishing thread does one atomic hand-over, ``deque.append``; all else is done by the hub's own daemon thread,
    which starts with the first event, and anew in a forked child. (If publishers delivered, an exception raised in one
    by Ctrl-C could lose the batch that it had taken, or leave a lock held.)

    ``session_id`` is the session of events that name none and are published where the context names none. All methods
    are thread-safe. ``publish`` and ``emit`` may also be called in signal handlers and ``__del__``. Of the others,
    ``unsubscribe``, ``flush``, ``stop``, ``wait`` and ``close`` may be called in ``__del__``, where they do not wait if
    the garbage collector happens to run on the hub's thread; none is for signal handlers.

    >>> with Hub() as hub, hub.subscribe() as subscription:
    ...     hub.emit("greeting.said", text="hello")
    ...     subscription.get(timeout_s=5).data["text"]
    'hello'
    """

    def __init__(
        self,
        config: HubConfig | None = None,
        *,
        session_id: str = "",
        clock: Clock = SYSTEM_CLOCK,
        witness: Witness | None = None,
    ) -> None:
        """Make a hub; no thread is started yet. A ``witness`` is told how far publishing has come."""
        self.config = config or HubConfig()
        self.session_id = plain_text(session_id)
        self._clock = clock
        self._witness = witness
        self._time_ns = clock.time_ns
        self._names = count(1)
        self._closed = False
        self._begin((), ())
        _HUBS.add(self)

    def _begin(self, live: Iterable[Subscription], recorders: Iterable[RecorderSubscription]) -> None:
        """A fresh start, here and in a forked child: its own writer, nothing queued, nothing counted, no thread."""
        self.writer_id = os.urandom(8).hex()
        """Identity of this hub in this process; new after a fork. With ``seq`` it identifies an event everywhere."""
        self.failures = FailureLog()
        """What went wrong in the background."""
        self._next_seq = count(1).__next__
        self._inbox: deque[PublishedEvent] = deque() if self._witness is None else self._witness.begin(self.writer_id)
        self._admission = Admission(self._inbox, self._witness)
        self._delivery = Delivery(
            self._inbox,
            self._admission,
            config=self.config,
            session_id=self.session_id,
            clock=self._clock,
            failures=self.failures,
            witness=self._witness,
        )
        for subscription in live:
            self._delivery.join(subscription)
        for recorder in recorders:
            self._delivery.join(recorder)
        if self._closed:  # in the child of a process that had closed it
            self._admission.close()
            self._delivery.finish()

    # -- publishing: nothing here may block, raise, or take a lock -----------------------------------------------------

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
        admission = self._admission
        try:
            scope = current_scope()
            if data is None:
                data = more
            elif more or _kind_of(data) is not dict:
                data = plain_mapping(data, more)
            if session_id is None:
                session_id = scope.session_id or self.session_id
            elif _kind_of(session_id) is not str:
                session_id = plain_text(session_id)
            if plan_id is None:
                plan_id = scope.plan_id
            elif _kind_of(plan_id) is not str:
                plan_id = plain_text(plan_id)
            if task_id is None:
                task_id = scope.task_id
            elif _kind_of(task_id) is not str:
                task_id = plain_text(task_id)
            event = PublishedEvent(
                type if _kind_of(type) is str else str.__str__(type),
                self._time_ns(),
                session_id,
                plan_id,
                task_id,
                data,  # type: ignore[arg-type]  # any mapping; the sanitiser makes it a dict
                scope.trace_id,
                "",
                scope.span_id,
                self.writer_id,
                self._next_seq(),
            )
            if admission.gate and not admission.admit():
                return
        except OUR_ERRORS:
            admission.refuse_invalid()
            return
        self._inbox.append(event)
        if len(self._inbox) >= admission.attention:
            self._attend()

    def publish(self, event: Event) -> None:
        """Publish a copy of ``event``, stamped with its identity, and with the hub's session if it names none.

        A ``time_ns`` of 0 becomes now. As :meth:`emit`: never blocks, never raises because of telemetry, safe in signal
        handlers and ``__del__``.
        """
        admission = self._admission
        try:
            # What the hub's thread and the persister rely on. The ids of spans are sonde's own: nobody passes a number.
            if not (
                type(event) is Event
                and type(event.type) is str
                and type(event.time_ns) is int
                and type(event.session_id) is str
                and type(event.plan_id) is str
                and type(event.task_id) is str
                and type(event.data) is dict
            ):
                event = plain_event(event)
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
            if admission.gate and not admission.admit():
                return
        except OUR_ERRORS:
            admission.refuse_invalid()
            return
        self._inbox.append(stamped)
        if len(self._inbox) >= admission.attention:
            self._attend()

    def _attend(self) -> None:
        """There is enough to do for the hub's thread, or too much for memory."""
        admission = self._admission
        try:
            if admission.attend():
                self._delivery.wake()
            admission.look()
        except OUR_ERRORS:
            return  # the event is in the inbox, and the thread looks there by itself now and then
        except BaseException:  # a signal handler's, perhaps before the thread was told
            admission.wanted = admission.attention = 1
            raise

    # -- subscribing ---------------------------------------------------------------------------------------------------

    def subscribe(
        self, *, types: Iterable[str] | None = None, session_id: str | None = None, queue_size: int | None = None
    ) -> Subscription:
        """Subscribe to events published from now on, perhaps only of some types or of one session.

        ``queue_size`` bounds what it holds by itself (``subscriber_queue_size`` of the configuration by default). On a
        closed hub the subscription has ended already. Waits for the delivery that is under way.

        Raises:
            ConfigError: ``queue_size`` is not positive, or ``types`` is a single string.
        """
        if queue_size is not None:
            require_positive("Hub.subscribe", "queue_size", queue_size, whole=True)
        subscription = Subscription(
            f"sub-{next(self._names)}",
            self,
            types=types,
            session_id=session_id,
            queue_size=queue_size or self.config.subscriber_queue_size,
            clock=self._clock,
        )
        self._delivery.join(subscription)
        return subscription

    def subscribe_recorder(
        self, *, max_pending_bytes: int = DEFAULT_MAX_PENDING_BYTES, overflow: Overflow = "drop"
    ) -> RecorderSubscription:
        """Subscribe a persister: every event from now on, whatever the live bounds are, until so many bytes wait.

        With ``overflow="block"`` publishers wait for room, off the main thread and off event loops only and for at most
        one second each time; then, and elsewhere, the event is dropped and counted as ``overloaded``.

        Raises:
            ConfigError: ``max_pending_bytes`` is not positive.
        """
        require_positive("Hub.subscribe_recorder", "max_pending_bytes", max_pending_bytes, whole=True)
        recorder = RecorderSubscription(
            f"rec-{next(self._names)}",
            self._settle,
            max_pending_bytes=max_pending_bytes,
            overflow=overflow,
            session_id=self.session_id,
        )
        self._delivery.join(recorder)
        return recorder

    def unsubscribe(self, subscription_id: str) -> bool:
        """End a subscription by its id; what was queued can still be read. Idempotent: says whether there was one."""
        return self._delivery.leave(subscription_id)

    # -- flushing and closing ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return when everything published before the call has been handed to every subscription.

        Does not wait for a consumer: what does not fit its queue is dropped for it, counted, and shown as a gap.
        """
        self._delivery.barrier(None, trim=True)

    def _settle(self, timeout_s: float | None) -> bool:
        return self._delivery.barrier(timeout_s, trim=False)

    def stop(self) -> None:
        """Take no more events and let the hub's thread deliver what is queued. Returns at once; idempotent."""
        self._closed = True
        self._admission.close()  # first: what delivery finds when it ends is all there will be
        self._delivery.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait after :meth:`stop` until all is delivered and the subscriptions have ended. Says whether they have."""
        return self._delivery.wait(timeout_s)

    def close(self) -> None:
        """Stop and wait: deliver what is queued, end the subscriptions. Idempotent; 30 s at most, then it logs."""
        self.stop()
        if not self._delivery.wait(CLOSE_TIMEOUT_S) and not self._delivery.is_inside:
            queued = self.stats().queued
            self.failures.add("close", f"hub closed while its thread is stuck: {queued} events may not be delivered")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the ledger ----------------------------------------------------------------------------------------------------

    @property
    def dropped_events(self) -> int:
        """Events that the hub dropped and that live subscriptions missed, for all reasons."""
        stats = self.stats()
        return sum(stats.dropped.values()) + sum(stats.live_dropped.values())

    def stats(self) -> HubStats:
        """The ledger. Does not block. Exact at any quiet moment; while events flow, its rows are read one by one."""
        delivery = self._delivery
        dropped = {reason: self._admission.refused(reason) for reason in (CLOSED, OVERLOADED, INVALID)}
        # Adjacent loads: a subscription that leaves between them would be counted twice or not at all.
        live, recorders, live_dropped = delivery.live, delivery.recorders, delivery.past_live_dropped
        rows = tuple(subscription.stats() for subscription in live)
        live_dropped = dict(live_dropped)
        for row in rows:
            for reason, number in row.dropped.items():
                live_dropped[reason] = live_dropped.get(reason, 0) + number
        is_finished = delivery.is_finished
        waiting, claimed, handed_over, failed = delivery.progress()
        dropped[FAILED] = failed
        if is_finished:  # came past the gate while it closed, and too late
            dropped[CLOSED] += waiting
            waiting = 0
        queued = waiting + claimed - handed_over - failed
        return HubStats(
            subscriber_count=len(live) + len(recorders),
            queue_size=self.config.queue_size,
            queued=queued,
            batch_size=self.config.batch_size,
            rate_limit=self.config.rate_limit,
            published=handed_over + queued + sum(dropped.values()),
            handed_over=handed_over,
            dropped={reason: number for reason, number in dropped.items() if number},
            live_dropped=live_dropped,
            subscriptions=rows,
            recorders=tuple(recorder.stats() for recorder in recorders),
            failures=dict(self.failures.counts),
        )

    def progress(self) -> Progress:
        """What became of the events that were not refused, at one moment. Does not block."""
        return self._delivery.progress()

    def _after_fork_in_child(self) -> None:
        live, recorders = self._delivery.live, self._delivery.recorders
        for subscription in live:
            subscription.reset()
        for recorder in recorders:
            recorder.reset()
        self._begin(live, recorders)


_HUBS: weakref.WeakSet[Hub] = weakref.WeakSet()


def _restart_hubs() -> None:
    for hub in list(_HUBS):
        hub._after_fork_in_child()  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_hubs)
