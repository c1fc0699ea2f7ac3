"""Sessions of a store: listed, found by name, loaded. Everything is read from the events anew; nothing is cached."""

from __future__ import annotations

import difflib
import re

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import SessionNotFoundError
from sonde.query.pulse import Pulse
from sonde.query.session import Session, SessionSummary, session_from_events
from sonde.store.contract import EventStore, StreamInfo
from sonde.store.retention import RETENTION_STREAM

_FROM_THE_END = re.compile(r"-(\d{1,6})")
_SHOWN = 5


def list_sessions(store: EventStore, limit: int | None = None, *, clock: Clock = SYSTEM_CLOCK) -> list[SessionSummary]:
    """The sessions of a store, the one that began last first; at most ``limit``.

    Reads all events of the sessions that it returns, one session at a time: some 10 µs an event. A session that is
    being recorded is summed up as it is now.
    """
    pulse = Pulse(store.liveness, clock=clock)
    streams = _newest_first(store)
    return [
        session_from_events(stream.stream_id, store.read(stream.stream_id), pulse=pulse).summary
        for stream in streams[: None if limit is None else max(0, limit)]
    ]


def load_session(store: EventStore, session_id: str, *, clock: Clock = SYSTEM_CLOCK) -> Session:
    """One session with its operations and totals; named as :func:`resolve_session` takes it. Reads all its events.

    Raises:
        SessionNotFoundError: the store holds none of that name.
    """
    stream_id = resolve_session(store, session_id)
    return session_from_events(stream_id, store.read(stream_id), pulse=Pulse(store.liveness, clock=clock))


def resolve_session(store: EventStore, text: str) -> str:
    """The stream of a session named by its id, by a beginning of it that fits no other, or by its age.

    ``last`` and ``-1`` are the session that began last, ``-2`` the one before it. An id that is exactly so comes first.

    Raises:
        SessionNotFoundError: no session, or several, answer to ``text``; the message names the nearest.
    """
    streams = _newest_first(store)
    names = [stream.stream_id for stream in streams]
    if text in names:
        return text
    from_the_end = _FROM_THE_END.fullmatch("-1" if text == "last" else text)
    if from_the_end and 0 < int(from_the_end[1]) <= len(names):
        return names[int(from_the_end[1]) - 1]
    found = [name for name in names if text and name.startswith(text)]
    if len(found) == 1:
        return found[0]
    what = f"cannot find session {text[:80]!r} in '{store.url}'"
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise SessionNotFoundError(f"{what}: it fits {_quoted(found)}{more}; give more of the name")
    if not names:
        raise SessionNotFoundError(f"{what}: the store is empty; record a session first")
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    hint = f"did you mean {_quoted(near)}?" if near else f"the newest are {_quoted(names)}"
    raise SessionNotFoundError(f"{what}: expected one of its {len(names)} session ids, or last; {hint}")


def _quoted(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:_SHOWN])


def _newest_first(store: EventStore) -> list[StreamInfo]:
    """By the time of the first event, then by when they were made; without streams that retention emptied."""
    streams = [stream for stream in store.streams() if stream.first_version and stream.stream_id != RETENTION_STREAM]
    streams.reverse()
    return sorted(streams, key=lambda stream: -stream.first_time_ns)
