"""HubConfig: the sizes and rates of a hub."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from sonde.errors import ConfigError

DEFAULT_EVENT_QUEUE_SIZE = 1000
DEFAULT_BATCH_SIZE = 100
DEFAULT_FLUSH_INTERVAL_S = 0.1
DEFAULT_RATE_LIMIT = 1000
DEFAULT_SUBSCRIBER_QUEUE_SIZE = 64


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How a hub delivers to *live* subscriptions. A recorder's subscription knows none of these bounds.

    Attributes:
        queue_size: events that may wait, over all live subscriptions, beyond their own queues.
        batch_size: events that wake the hub's thread before the flush interval is over.
        flush_interval_s: the longest, in seconds, that an event waits for its batch to fill.
        rate_limit: events a second for live subscriptions, with a burst of as many; ``None`` is unlimited.
        subscriber_queue_size: events that each live subscription may hold for its consumer.

    Raises:
        ConfigError: a value is not positive; the message names it.

    >>> HubConfig().batch_size
    100
    """

    queue_size: int = DEFAULT_EVENT_QUEUE_SIZE
    batch_size: int = DEFAULT_BATCH_SIZE
    flush_interval_s: float = DEFAULT_FLUSH_INTERVAL_S
    rate_limit: float | None = DEFAULT_RATE_LIMIT
    subscriber_queue_size: int = DEFAULT_SUBSCRIBER_QUEUE_SIZE

    def __post_init__(self) -> None:
        for name in ("queue_size", "batch_size", "subscriber_queue_size"):
            require_positive("HubConfig", name, getattr(self, name), whole=True)
        require_positive("HubConfig", "flush_interval_s", self.flush_interval_s)
        if self.rate_limit is not None:
            require_positive("HubConfig", "rate_limit", self.rate_limit)


def require_positive(owner: str, name: str, value: object, *, whole: bool = False) -> None:
    """Raise ConfigError unless ``value`` is a positive, finite number (a whole one where ``whole``)."""
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    if isinstance(value, kinds) and not isinstance(value, bool) and 0 < value <= sys.float_info.max:  # type: ignore[operator]  # narrowed to a number
        return
    expected = "a positive whole number" if whole else "a positive number"
    raise ConfigError(f"{owner}: {name} is {value!r}; expected {expected}")
