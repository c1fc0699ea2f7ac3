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
from sonde.store.retention import RETENTION_STREAM, PruneReport, Removal, Retention
from sonde.store.sqlite import SQLiteStore

__all__ = [
    "RETENTION_STREAM",
    "AppendResult",
    "Durability",
    "EventStore",
    "Liveness",
    "PruneReport",
    "Record",
    "Removal",
    "Retention",
    "SQLiteStore",
    "StoreHealth",
    "StreamInfo",
    "open",
]
