"""Gaps: what a session misses, as events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from sonde.clock import Clock
from sonde.events import EventType, PublishedEvent
from sonde.hub import Hub, Missed


class Gaps:
    """Makes the gaps of one recorder. They have a writer of their own, and no hub counts them. For one thread."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        """Their numbers begin with 1."""
        self._hub = hub
        self._clock = clock
        self._next_seq = count(1).__next__

    @property
    def writer_id(self) -> str:
        """Theirs."""
        return f"{self._hub.writer_id}-recorder"

    def events(self, missed: Sequence[Missed]) -> list[PublishedEvent]:
        """One ``sonde.gap`` for each session that misses something."""
        by_session: dict[str, dict[str, int]] = {}
        for session_id, reason, number in missed:
            by_session.setdefault(session_id, {})[reason] = number
        time_ns = self._clock.time_ns()
        return [
            PublishedEvent(
                EventType.GAP.value,
                time_ns,
                session_id,
                data={"missed": sum(reasons.values()), "reasons": reasons},
                writer_id=self.writer_id,
                seq=self._next_seq(),
            )
            for session_id, reasons in by_session.items()
        ]
