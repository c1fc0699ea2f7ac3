"""Account: what a prune says that it removed, in an event and in an error."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sonde.events import Event, EventType
from sonde.store.retention import PruneReport, Removal

KEPT_NOTES = 1_000
"""How many such events stay."""

_NAMED = 5  # sessions in an error
_LISTED = 100  # removals in one event


def removed_text(removals: Sequence[Removal]) -> str:
    """What a prune that stopped half-way had removed.

    >>> removed_text([Removal("s-1", 1, 1_200, False, "age")])
    "removed before that: 1,200 events of 's-1'; the rest is as it was"
    >>> removed_text([])
    'nothing was removed'
    """
    if not removals:
        return "nothing was removed"
    listed = ", ".join(f"{removal.events:,} events of {removal.stream_id!r}" for removal in removals[:_NAMED])
    more = f" and of {len(removals) - _NAMED:,} more sessions" if len(removals) > _NAMED else ""
    return f"removed before that: {listed}{more}; the rest is as it was"


def note_event(report: PruneReport, *, now_ns: int) -> Event:
    """What is put on record of a prune: an event that doesn't grow with what was removed."""
    reasons: dict[str, int] = {}
    for removal_ in report.removals:
        reasons[removal_.reason] = reasons.get(removal_.reason, 0) + removal_.events
    data = {
        "pid": os.getpid(),
        "events": report.events,
        "sessions": report.sessions,
        "reasons": reasons,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "removed": [
            {
                "stream_id": removal_.stream_id,
                "from_version": removal_.from_version,
                "to_version": removal_.to_version,
                "is_whole": removal_.is_whole,
                "reason": removal_.reason,
            }
            for removal_ in report.removals[:_LISTED]
        ],
    }
    return Event(EventType.RETENTION.value, now_ns, data=data)
