"""Event stores: append-only streams of events that survive the process."""

from sonde.store.contract import (
    AppendResult,
    Durability,
    EventStore,
    Liveness,
    Record,
    StoreHealth,
    StreamInfo,
)
from sonde.store.opener import open
from sonde.store.sqlite import SQLiteStore

__all__ = [
    "AppendResult",
    "Durability",
    "EventStore",
    "Liveness",
    "Record",
    "SQLiteStore",
    "StoreHealth",
    "StreamInfo",
    "open",
]
