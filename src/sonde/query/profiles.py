"""The profile of a session, put together from its ``sonde.profile`` events."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sonde.errors import EventDecodeError
from sonde.events import Event, EventType
from sonde.failures import LOGGER
from sonde.profiling import ChunkReader, Profile, ValueType
from sonde.query.sessions import resolve_session
from sonde.store.contract import EventStore

_NOTHING = Profile(sample_types=(ValueType("samples", "count"), ValueType("wall", "nanoseconds")))


class RecordedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that was recorded, and what is to be known about it. Immutable.

    Attributes:
        profile: the samples; begins with the earliest event that had some. Its duration is the time that was profiled,
            summed over processes.
        events: how many events it is made of, after those of another time were left out.
        omitted: samples in ``[more stacks]``: their events had no room for the stacks.
        lost: samples in ``[stack not recorded]``: the events that defined their stacks are not there any more.
        unreadable: events that were passed over, since they hold no profile, or one of another kind.
    """

    profile: Profile
    events: int = 0
    omitted: int = 0
    lost: int = 0
    unreadable: int = 0


def read_profile(
    source: EventStore | Iterable[Event],
    session_id: str | None = None,
    *,
    tool: str | None = None,
    operation: str | None = None,
    task: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> Profile:
    """What the recorders of a session with ``profile=True`` saw, of all its processes together.

    Samples are kept that carry each of the labels given. ``since_ns`` and ``until_ns`` (Unix time) leave out whole
    events, stretches of ten seconds by default: one that reaches into the time is kept whole.

    From a store it reads the profile events in the session's stream; where there are none, those of all streams, since
    a recorder samples every session of its program. Events of other types are passed over. Blocks for some 1 ms an
    event; writes nothing. What cannot be read is left out and logged. A session without a profile has no samples.

    Args:
        source: an open event store, or events, in their order.
        session_id: a session, named as :func:`~sonde.query.resolve_session` takes it; ``None``: all of ``source``.
        tool: samples taken inside a call of this tool.
        operation: samples whose innermost operation was this, as in ``"model gpt-x"``.
        task: samples taken inside the task of this id.
        since_ns: not before.
        until_ns: not after.

    Raises:
        SessionNotFoundError: the store holds no such session.

    >>> import sonde
    >>> with sonde.record(":memory:", session_id="fix-42") as rec:
    ...     _ = rec.flush()
    ...     read_profile(rec.store, "fix-42").total("samples")
    0
    """
    found = load_profile(source, session_id, since_ns=since_ns, until_ns=until_ns).profile
    wanted = {"tool": tool, "operation": operation, "task": task}
    return select_samples(found, **{key: value for key, value in wanted.items() if value is not None})


def select_samples(profile: Profile, **labels: str) -> Profile:
    """The profile of the samples alone that carry all these labels."""
    if not labels:
        return profile
    wanted = set(labels.items())
    return msgspec.structs.replace(
        profile, samples=tuple(sample for sample in profile.samples if wanted <= set(sample.labels))
    )


def load_profile(
    source: EventStore | Iterable[Event],
    session_id: str | None = None,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> RecordedProfile:
    """As :func:`read_profile`, whole, with what there is to know about how it was recorded."""
    if isinstance(source, Iterable):
        kept = (event for event in source if session_id is None or event.session_id == session_id)
        return _read(kept, since_ns, until_ns)
    if session_id is None:
        return _read(source.read_all(types=[EventType.PROFILE.value]), since_ns, until_ns)
    stream_id = resolve_session(source, session_id)
    found = _read(source.read_by_type(stream_id, EventType.PROFILE.value), since_ns, until_ns)
    if found.events or found.unreadable:
        return found
    found = _read(source.read_all(types=[EventType.PROFILE.value]), since_ns, until_ns)
    profile = select_samples(found.profile, session=stream_id)
    return msgspec.structs.replace(found, profile=profile) if profile.samples else RecordedProfile(profile=_NOTHING)


def _read(events: Iterable[Event], since_ns: int | None, until_ns: int | None) -> RecordedProfile:
    reader = ChunkReader()
    profiles: list[Profile] = []
    problems: list[object] = []
    omitted = lost = 0
    for event in events:
        if event.type != EventType.PROFILE.value:
            continue
        before = reader.omitted, reader.lost
        try:
            profile = reader.read(event.data)  # also what is left out: it may define what comes later
        except EventDecodeError as error:
            problems.append(error)
            continue
        if not _reaches(profile, since_ns, until_ns):
            continue
        if profiles and profile.sample_types != profiles[0].sample_types:
            problems.append(f"values of {[one.type for one in profile.sample_types]} among others")
            continue
        omitted += reader.omitted - before[0]
        lost += reader.lost - before[1]
        profiles.append(profile)
    if problems:
        LOGGER.warning("left out %d profile events; the last: %s", len(problems), problems[-1])
    return RecordedProfile(
        profile=_merged(profiles) if profiles else _NOTHING,
        events=len(profiles),
        omitted=omitted,
        lost=lost,
        unreadable=len(problems),
    )


def _merged(profiles: list[Profile]) -> Profile:
    """All of them, with the mean period of all instead of the longest: a busy stretch was looked at less often."""
    looks = sum(one.duration_ns / one.period for one in profiles if one.period > 0)
    merged = Profile.merge(profiles)
    return msgspec.structs.replace(merged, period=round(merged.duration_ns / looks)) if looks else merged


def _reaches(profile: Profile, since_ns: int | None, until_ns: int | None) -> bool:
    if since_ns is not None and profile.time_ns + profile.duration_ns < since_ns:
        return False
    return until_ns is None or profile.time_ns <= until_ns
