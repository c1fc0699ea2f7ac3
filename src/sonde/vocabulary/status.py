"""Status: how an operation or a session ended, or why it has not."""

from __future__ import annotations

from enum import StrEnum


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
