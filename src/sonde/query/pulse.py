"""Pulse: why an operation or a session has not ended: it runs, or nobody is left to end it."""

from __future__ import annotations

from collections.abc import Callable

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.store.contract import Liveness
from sonde.vocabulary import Status

RECENT_S = 60.0
"""A writer that nobody can vouch for counts as running for so long after its last event."""


class Pulse:
    """Tells the status of what has not ended, from the liveness of its writer and the time of its last event.

    Asks for each writer once, so one object gives one consistent picture. For one thread.

    >>> from sonde.clock import ManualClock
    >>> pulse = Pulse(lambda writer_id: Liveness.UNKNOWN, clock=ManualClock(time_ns=100 * 10**9))
    >>> pulse.status("w", last_ns=90 * 10**9).value, pulse.status("w", last_ns=30 * 10**9).value
    ('running', 'stale')
    """

    def __init__(self, liveness: Callable[[str], Liveness] | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """``liveness`` is a store's; without one every writer is unknown."""
        self._liveness = liveness
        self._now_ns = clock.time_ns()
        self._known: dict[str, Liveness] = {}

    def liveness(self, writer_id: str) -> Liveness:
        """What the store says about a writer; events that never were in a store have none."""
        found = self._known.get(writer_id)
        if found is None:
            found = self._liveness(writer_id) if self._liveness is not None and writer_id else Liveness.UNKNOWN
            self._known[writer_id] = found
        return found

    def status(self, writer_id: str, *, last_ns: int) -> Status:
        """Running, interrupted or stale. ``last_ns`` is the time of the last event of the same stream."""
        found = self.liveness(writer_id)
        if found is Liveness.UNKNOWN:
            return Status.RUNNING if self._now_ns - last_ns <= RECENT_S * 1e9 else Status.STALE
        return Status.RUNNING if found is Liveness.ALIVE else Status.INTERRUPTED
