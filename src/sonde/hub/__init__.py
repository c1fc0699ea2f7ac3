"""The hub: from the publishing thread to subscriptions, without blocking and with an exact ledger."""

from sonde.hub.bell import Bell
from sonde.hub.config import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_EVENT_QUEUE_SIZE,
    DEFAULT_FLUSH_INTERVAL_S,
    DEFAULT_RATE_LIMIT,
    DEFAULT_SUBSCRIBER_QUEUE_SIZE,
    HubConfig,
    require_positive,
)
from sonde.hub.hub import Hub
from sonde.hub.recording import DEFAULT_MAX_PENDING_BYTES, Chunk, Missed, Overflow, RecorderSubscription
from sonde.hub.stats import HubStats, SubscriptionStats
from sonde.hub.subscription import Subscription
from sonde.hub.ticker import Ticker

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "DEFAULT_EVENT_QUEUE_SIZE",
    "DEFAULT_FLUSH_INTERVAL_S",
    "DEFAULT_MAX_PENDING_BYTES",
    "DEFAULT_RATE_LIMIT",
    "DEFAULT_SUBSCRIBER_QUEUE_SIZE",
    "Bell",
    "Chunk",
    "Hub",
    "HubConfig",
    "HubStats",
    "Missed",
    "Overflow",
    "RecorderSubscription",
    "Subscription",
    "SubscriptionStats",
    "Ticker",
    "require_positive",
]
