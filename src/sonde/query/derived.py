"""Metrics derived again, from a store: what a process had in its registry, after it is gone."""

from __future__ import annotations

from collections.abc import Iterator

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.events import RecordedEvent
from sonde.metrics import DerivedMetrics, Registry
from sonde.query.pulse import Pulse
from sonde.query.sessions import resolve_session
from sonde.store.contract import EventStore
from sonde.vocabulary import Status


def derive_metrics(store: EventStore, session_id: str | None = None, *, clock: Clock = SYSTEM_CLOCK) -> Registry:
    """The metrics of all events of a store, or of one session, in a registry of their own.

    For a run that has ended they are the figures that :attr:`Recorder.registry <sonde.Recorder>` had when it was
    closed, series by series. ``active_sessions`` leaves out those whose process died, or has been silent for a minute
    where nobody can tell. Reads all events concerned, once: some 5 µs each. Blocks; writes nothing. Where several
    processes recorded, it is all of theirs together; what retention removed is not in it.

    Args:
        store: an open event store.
        session_id: a session, named as :func:`~sonde.query.resolve_session` takes it; ``None``: all that is there.
        clock: tells how long a writer of another host has been silent.

    Raises:
        SessionNotFoundError: the store holds none of that name.

    >>> import sonde
    >>> with sonde.record(":memory:", session_id="fix-42") as rec:
    ...     with rec.tool("read_file", path="a.py"):
    ...         pass
    ...     _ = rec.flush()
    ...     print(*derive_metrics(rec.store, "fix-42").counters())
    tool_calls_total{tool_name=read_file} 1
    """
    derived = DerivedMetrics(Registry())
    last_ns: dict[str, int] = {}  # by session
    derived.add_all(_watched(_events(store, session_id), last_ns))
    pulse = Pulse(store.liveness, clock=clock)
    for session, writer_id in derived.open_sessions.items():
        if pulse.status(writer_id, last_ns=last_ns.get(session.session_id, 0)) is not Status.RUNNING:
            derived.close_session(session)
    return derived.registry


def _events(store: EventStore, session_id: str | None) -> Iterator[RecordedEvent]:
    return store.read_all() if session_id is None else store.read(resolve_session(store, session_id))


def _watched(events: Iterator[RecordedEvent], last_ns: dict[str, int]) -> Iterator[RecordedEvent]:
    """The events themselves; the time of each session's last is noted."""
    for event in events:
        if event.time_ns > last_ns.get(event.session_id, 0):
            last_ns[event.session_id] = event.time_ns
        yield event
