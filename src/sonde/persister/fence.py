"""Fence: a moment between events, and whether the store has all that was published before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sonde.hub import Hub, RecorderSubscription


class Fence:
    """Made at a moment; passed once all that was published before is committed, or counted as lost.

    Not by sequence numbers: one may be burnt by an interrupt, and its event never comes.
    """

    def __init__(self, hub: Hub, subscription: RecorderSubscription, told: Callable[[], int]) -> None:
        """The moment is now. ``told`` gives the number of dropped events whose gap has had its turn."""
        self._hub = hub
        self._subscription = subscription
        self._told = told
        self._dropped = 0
        progress = hub.progress()
        self._published = progress.waiting + progress.claimed
        self._accepted: int | None = None

    def is_passed(self) -> bool:
        """Whether it is so by now. Some microseconds."""
        if self._accepted is None:
            progress = self._hub.progress()
            if progress.handed_over + progress.failed < self._published:
                return False
            # The hub's thread raises both before ``handed_over``.
            self._dropped = sum(self._subscription.stats().dropped.values())
            self._accepted = self._subscription.accepted
        return self._subscription.released >= self._accepted and self._told() >= self._dropped


class Keeper(Protocol):
    """Somebody who keeps events until they are committed. Called on the persister's thread; must not raise."""

    def note(self) -> None:
        """The persister is about to write, or to wait before it tries again."""
        ...

    def tidy(self, fence: Callable[[], Fence], *, accounted: int) -> None:
        """The persister has written something, or had nothing to write.

        ``fence`` makes one; ``accounted`` events never come, and a gap in the store says so.
        """
        ...

    def leave(self) -> None:
        """The persister is gone: nothing will be written any more."""
        ...
