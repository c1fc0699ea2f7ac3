"""Gaps: what a session misses, as events."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sonde.events import EventType, PublishedEvent
from sonde.hub import Missed


def gap_events(
    missed: Sequence[Missed], *, time_ns: int, writer_id: str, next_seq: Callable[[], int]
) -> list[PublishedEvent]:
    """One ``sonde.gap`` for each session that misses something."""
    by_session: dict[str, dict[str, int]] = {}
    for session_id, reason, number in missed:
        by_session.setdefault(session_id, {})[reason] = number
    return [
        PublishedEvent(
            EventType.GAP.value,
            time_ns,
            session_id,
            data={"missed": sum(reasons.values()), "reasons": reasons},
            writer_id=writer_id,
            seq=next_seq(),
        )
        for session_id, reasons in by_session.items()
    ]
