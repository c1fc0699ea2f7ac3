"""sonde: the flight recorder for AI agents.

>>> import sonde
>>> with sonde.record(":memory:") as rec:
...     with rec.tool("read_file", path="a.py"):
...         pass
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonde.clock import Clock, ManualClock, SystemClock
    from sonde.context import Scope, current_scope, propagate
    from sonde.errors import (
        ConfigError,
        EventDecodeError,
        EventEncodeError,
        EventError,
        MissingExtraError,
        SessionNotFoundError,
        SondeError,
        StoreClosedError,
        StoreCorruptError,
        StoreError,
        StoreFormatError,
        StoreNotFoundError,
        StorePermissionError,
        StoreSchemaError,
        StoreUnavailableError,
        WrongExpectedVersionError,
    )
    from sonde.events import Event, EventType, Position, PublishedEvent, RecordedEvent
    from sonde.hub import (
        DEFAULT_BATCH_SIZE,
        DEFAULT_EVENT_QUEUE_SIZE,
        DEFAULT_FLUSH_INTERVAL_S,
        DEFAULT_RATE_LIMIT,
        DEFAULT_SUBSCRIBER_QUEUE_SIZE,
        Hub,
        HubConfig,
        HubStats,
        Subscription,
        SubscriptionStats,
    )
    from sonde.instrument import ContentCapture, FilePrices, GenaiPrices, NoPrices, Operation, PriceTable
    from sonde.persister import (
        DEFAULT_PERSIST_BATCH_SIZE,
        DEFAULT_PERSIST_FLUSH_INTERVAL_S,
        FlushReport,
        Persister,
    )
    from sonde.recorder import Recorder, RecorderStats, record
    from sonde.redaction import NoRedactor, SecretRedactor
    from sonde.store import AppendResult, Durability, EventStore, Record, SQLiteStore

# Public name → the module that has it. Each is imported when it is first used.
_HOMES = {
    "AppendResult": "store",
    "Clock": "clock",
    "ConfigError": "errors",
    "ContentCapture": "instrument",
    "DEFAULT_BATCH_SIZE": "hub",
    "DEFAULT_EVENT_QUEUE_SIZE": "hub",
    "DEFAULT_FLUSH_INTERVAL_S": "hub",
    "DEFAULT_PERSIST_BATCH_SIZE": "persister",
    "DEFAULT_PERSIST_FLUSH_INTERVAL_S": "persister",
    "DEFAULT_RATE_LIMIT": "hub",
    "DEFAULT_SUBSCRIBER_QUEUE_SIZE": "hub",
    "Durability": "store",
    "Event": "events",
    "EventDecodeError": "errors",
    "EventEncodeError": "errors",
    "EventError": "errors",
    "EventStore": "store",
    "EventType": "events",
    "FilePrices": "instrument",
    "FlushReport": "persister",
    "GenaiPrices": "instrument",
    "Hub": "hub",
    "HubConfig": "hub",
    "HubStats": "hub",
    "ManualClock": "clock",
    "MissingExtraError": "errors",
    "NoPrices": "instrument",
    "NoRedactor": "redaction",
    "Operation": "instrument",
    "Persister": "persister",
    "Position": "events",
    "PriceTable": "instrument",
    "PublishedEvent": "events",
    "Record": "store",
    "RecordedEvent": "events",
    "Recorder": "recorder",
    "RecorderStats": "recorder",
    "SQLiteStore": "store",
    "Scope": "context",
    "SecretRedactor": "redaction",
    "SessionNotFoundError": "errors",
    "SondeError": "errors",
    "StoreClosedError": "errors",
    "StoreCorruptError": "errors",
    "StoreError": "errors",
    "StoreFormatError": "errors",
    "StoreNotFoundError": "errors",
    "StorePermissionError": "errors",
    "StoreSchemaError": "errors",
    "StoreUnavailableError": "errors",
    "Subscription": "hub",
    "SubscriptionStats": "hub",
    "SystemClock": "clock",
    "WrongExpectedVersionError": "errors",
    "current_scope": "context",
    "propagate": "context",
    "record": "recorder",
}

_ROOMS = frozenset({"context", "errors", "events", "exporters", "hub", "query", "receivers", "redaction", "store"})

__all__ = [*_HOMES]  # noqa: PLE0604  # the table is the list


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"sonde.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sonde' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"sonde.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
