"""MemoryEvents: what the process held of memory, as ``sonde.memory`` events, for whoever asks why it died."""

from __future__ import annotations

import os
from collections.abc import Callable

from sonde.events import Event, EventType
from sonde.failures import FailureLog
from sonde.hub import Ticker
from sonde.metrics import get_memory_stats, get_rss

DEFAULT_MEMORY_INTERVAL_S = 30.0

GROWTH_INTERVAL_S = 1.0
"""How often growth is looked for, at some 6 µs: what is killed for its memory may have taken it in seconds."""

GROWTH_BYTES = 128 * 1024 * 1024
GROWTH_RATIO = 1.25
"""How much more than at the last event must be resident for an event at once: this ratio, and as many bytes."""


class MemoryEvents:
    """Publishes the memory of this process every interval, and sooner when it grows fast.

    The first event comes after the first interval, and one at the end only if there was one before: a run that is short
    and small has none. A forked child has its own, by ``pid``. Raises nothing; failures are counted and logged.
    """

    def __init__(
        self, publish: Callable[[Event], object], *, session_id: str, growth_bytes: int = GROWTH_BYTES
    ) -> None:
        """Publish nothing yet."""
        self._publish = publish
        self._session_id = session_id
        self._growth_bytes = growth_bytes
        self._rss: int | None = None  # at the last event, or at the start
        self._pid = 0  # who published the last event
        self.failures = FailureLog()

    def start(self, ticker: Ticker, interval_s: float) -> None:
        """Publish by ``ticker``, whoever stops it."""
        self._rss = get_rss()
        ticker.every(interval_s, lambda: self._write("interval"))
        if interval_s > GROWTH_INTERVAL_S and self._rss is not None:
            ticker.every(GROWTH_INTERVAL_S, self.look)

    def look(self) -> None:
        """Publish now if much more is resident than at the last event."""
        rss, before = get_rss(), self._rss
        if rss is None or before is None:
            return
        if rss - before >= self._growth_bytes and rss >= before * GROWTH_RATIO:
            self._write("growth")

    def close(self) -> None:
        """Publish a last event if this process has published one."""
        if self._pid == os.getpid():
            self._write("close")

    def _write(self, reason: str) -> None:
        try:
            stats = get_memory_stats()
            data = {"pid": os.getpid(), "reason": reason, **stats.to_data()}
            self._publish(Event(EventType.MEMORY.value, session_id=self._session_id, data=data))
            self._rss, self._pid = stats.rss, os.getpid()
        except Exception as error:  # noqa: BLE001 - a recorder must not fail for the sake of statistics
            self.failures.add("memory", f"cannot record memory statistics: {error!r}", error=error)
