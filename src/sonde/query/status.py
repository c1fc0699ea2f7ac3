"""Status: how an operation or a session ended, or why it has not."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.store.contract import Liveness

RECENT_S = 60.0
"""A writer that nobody can vouch for counts as running for so long after its last event."""


class Status(StrEnum):
    """Where an operation or a session stands.

    >>> Status.RUNNING.is_open, Status.FAILED.is_open
    (True, False)
    """

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Its process died, or ended without ending it."""
    STALE = "stale"
    """Not ended, and nobody knows whether its process lives: on another host, or imported; silent for a minute."""

    @property
    def is_open(self) -> bool:
        """Whether there is no end on record."""
        return self in {Status.RUNNING, Status.INTERRUPTED, Status.STALE}


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
