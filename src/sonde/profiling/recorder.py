"""ProfileRecorder: the memory of this process as gauges, again and again."""

from __future__ import annotations

import math
import threading

import msgspec

from sonde.errors import ConfigError
from sonde.failures import FailureLog
from sonde.hub import Ticker
from sonde.metrics import record_memory_stats

DEFAULT_MEMORY_INTERVAL_S = 30.0


class ProfileConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How often a :class:`ProfileRecorder` records.

    Raises:
        ConfigError: an interval is not a finite number above 0.

    >>> ProfileConfig()
    ProfileConfig(memory_interval_s=30.0)
    """

    memory_interval_s: float = DEFAULT_MEMORY_INTERVAL_S

    def __post_init__(self) -> None:
        interval_s: object = self.memory_interval_s  # what callers without a type checker give
        if isinstance(interval_s, bool) or not isinstance(interval_s, int | float) or not 0 < interval_s < math.inf:
            raise ConfigError(
                f"cannot record memory every {interval_s!r} seconds: a finite number above 0 is expected; "
                f"give memory_interval_s={DEFAULT_MEMORY_INTERVAL_S:g}, or don't start the recorder"
            )


class ProfileRecorder:
    """Sets the gauges ``memory_usage_bytes{kind=...}`` of the default registry once at the start, then every interval.

    For a program whose metrics are scraped. A :func:`~sonde.record` needs none: it records ``sonde.memory`` events.

    Thread-safe. ``start`` and ``stop`` may be called in any order and number, and raise nothing; what fails in between
    is counted in ``failures`` and logged. A daemon thread waits for the next time, in a forked child too; each time
    costs what :func:`~sonde.get_memory_stats` does. Not for signal handlers.

    >>> import sonde
    >>> with ProfileRecorder(ProfileConfig(memory_interval_s=5)) as recorder:
    ...     sonde.gauge(sonde.MEMORY_USAGE_BYTES, {"kind": "peak_rss"}).get() > 0
    True
    >>> recorder.is_running
    False
    """

    def __init__(self, config: ProfileConfig | None = None) -> None:
        """Start nothing yet."""
        self.config = ProfileConfig() if config is None else config
        self.failures = FailureLog()
        self._lock = threading.Lock()
        self._ticker: Ticker | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._ticker is not None

    def start(self) -> None:
        """Record now, and every interval from now on. Does nothing if it runs already."""
        with self._lock:
            if self._ticker is not None:
                return
            self._record()
            self._ticker = Ticker("sonde-profile-recorder", failures=self.failures)
            self._ticker.every(self.config.memory_interval_s, self._record)

    def stop(self) -> None:
        """Record no more. The gauges keep what they hold. Idempotent; :meth:`start` begins again."""
        with self._lock:
            if self._ticker is not None:
                self._ticker.stop()
                self._ticker = None

    def _record(self) -> None:
        try:
            record_memory_stats()
        except Exception as error:  # noqa: BLE001 - who starts a recorder must not fail for it
            self.failures.add("memory", f"cannot record memory statistics: {error!r}", error=error)

    def __enter__(self) -> ProfileRecorder:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
