"""Failures in the background: counted always, logged at most once an interval, never raised."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sonde.clock import SYSTEM_CLOCK, Clock

LOGGER = logging.getLogger("sonde")

DEFAULT_LOG_INTERVAL_S = 60.0

LOGGING = "logging"


class FailureLog:
    """Counts failures by kind and writes each kind to the logger ``sonde`` at most once an interval.

    Made for threads that must not die and must not flood: a disk that is full fails a thousand times a second. The next
    line of a kind says how many were left out since the last. Meant for one thread at a time; another may read it.
    A logging handler that raises is a failure of its own kind, ``logging``.
    """

    def __init__(self, *, interval_s: float = DEFAULT_LOG_INTERVAL_S, clock: Clock = SYSTEM_CLOCK) -> None:
        """Log each kind at most once in ``interval_s`` seconds."""
        self._interval_s = interval_s
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    @property
    def counts(self) -> Mapping[str, int]:
        """Failures so far, by kind."""
        return dict(self._counts)

    def add(self, kind: str, message: str, *, error: BaseException | None = None) -> None:
        """Count a failure of ``kind`` and perhaps log ``message``; with ``error``, its traceback goes to DEBUG."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        now_s = self._clock.monotonic_s()
        last_s, logged_count = self._logged.get(kind, (float("-inf"), 0))
        if now_s - last_s < self._interval_s:
            return
        self._logged[kind] = (now_s, count)
        left_out = count - logged_count - 1
        try:
            LOGGER.warning("%s%s", message, f" ({left_out} more like this since the last line)" if left_out else "")
            if error is not None:
                LOGGER.debug("%s", kind, exc_info=error)
        except Exception:  # noqa: BLE001 - the user's handlers and filters; the thread that reports must not die of them
            self._counts[LOGGING] = self._counts.get(LOGGING, 0) + 1
