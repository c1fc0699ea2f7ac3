"""StartingBell: wakes a thread, and starts it first where there is none."""

from __future__ import annotations

from sonde.hub import Bell
from sonde.hub.thread import LazyThread


class StartingBell(Bell):
    """A bell whose first ring starts the thread that it is to wake: here, and in each forked child that publishes."""

    __slots__ = ("_thread",)

    def __init__(self, thread: LazyThread) -> None:
        super().__init__()
        self._thread = thread

    def ring(self) -> None:
        """Wake the thread; start it if it is wanting. Never blocks."""
        if self._thread.is_wanting:
            self._thread.start()
        super().ring()
