"""How often a recorder does what it does every so often."""

from __future__ import annotations

import math

from sonde.errors import ConfigError

DEFAULT_PROFILE_HZ = 20.0
DEFAULT_PROFILE_INTERVAL_S = 10.0


def valid_interval_s(interval_s: float | None, what: str, *, without: str) -> float:
    """Seconds, 0 for none; :class:`~sonde.errors.ConfigError` for what is no interval.

    >>> valid_interval_s(None, "metrics", without="record none")
    0.0
    """
    if interval_s is None:
        return 0.0
    kind: type[object] = type(interval_s)  # what callers without a type checker give
    if kind not in (int, float) or not 0 <= interval_s < math.inf:
        raise ConfigError(
            f"cannot record {what} every {interval_s!r} seconds: a finite number is expected, 0 or more; "
            f"give None to {without}"
        )
    return float(interval_s)
