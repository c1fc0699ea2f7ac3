"""Witness: somebody who is told how far publishing has come, so that it is known even after a kill."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from sonde.events import PublishedEvent


class Witness(Protocol):
    """What a hub tells, of each of its writers in turn.

    At any moment ``claimed + waiting - 1`` is at least the number of events whose ``emit`` or ``publish`` has returned:
    exact while the hub is idle, else too large by as much as the inbox may grow before a publisher comes by. So the
    hot path does nothing for it.
    """

    def begin(self, writer_id: str) -> deque[PublishedEvent]:
        """A writer begins, in this process or in a forked child: gives the inbox for its events, empty."""
        ...

    def claimed(self, number: int) -> None:
        """The hub's thread is about to have taken so many events in all. Must not raise."""
        ...

    def waiting(self, length: int) -> None:
        """From this length of the inbox on, a publisher comes by before its ``emit`` returns.

        Called by any thread and in signal handlers: it must neither raise nor wait.
        """
        ...
