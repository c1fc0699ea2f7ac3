"""sonde: the flight recorder for AI agents.

>>> import sonde
>>> with sonde.record(":memory:") as rec:
...     with rec.tool("read_file", path="a.py"):
...         pass
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers, which do not run __getattr__; ``as`` makes a name public to them
    from sonde.clock import Clock as Clock
    from sonde.clock import ManualClock as ManualClock
    from sonde.clock import SystemClock as SystemClock
    from sonde.context import Scope as Scope
    from sonde.context import current_scope as current_scope
    from sonde.context import propagate as propagate
    from sonde.errors import ConfigError as ConfigError
    from sonde.errors import EventDecodeError as EventDecodeError
    from sonde.errors import EventEncodeError as EventEncodeError
    from sonde.errors import EventError as EventError
    from sonde.errors import MissingExtraError as MissingExtraError
    from sonde.errors import SessionNotFoundError as SessionNotFoundError
    from sonde.errors import SondeError as SondeError
    from sonde.errors import StoreClosedError as StoreClosedError
    from sonde.errors import StoreCorruptError as StoreCorruptError
    from sonde.errors import StoreError as StoreError
    from sonde.errors import StoreFormatError as StoreFormatError
    from sonde.errors import StoreNotFoundError as StoreNotFoundError
    from sonde.errors import StorePermissionError as StorePermissionError
    from sonde.errors import StoreSchemaError as StoreSchemaError
    from sonde.errors import StoreUnavailableError as StoreUnavailableError
    from sonde.errors import WrongExpectedVersionError as WrongExpectedVersionError
    from sonde.events import Event as Event
    from sonde.events import EventType as EventType
    from sonde.events import Position as Position
    from sonde.events import PublishedEvent as PublishedEvent
    from sonde.events import RecordedEvent as RecordedEvent
    from sonde.hub import DEFAULT_BATCH_SIZE as DEFAULT_BATCH_SIZE
    from sonde.hub import DEFAULT_EVENT_QUEUE_SIZE as DEFAULT_EVENT_QUEUE_SIZE
    from sonde.hub import DEFAULT_FLUSH_INTERVAL_S as DEFAULT_FLUSH_INTERVAL_S
    from sonde.hub import DEFAULT_RATE_LIMIT as DEFAULT_RATE_LIMIT
    from sonde.hub import DEFAULT_SUBSCRIBER_QUEUE_SIZE as DEFAULT_SUBSCRIBER_QUEUE_SIZE
    from sonde.hub import Hub as Hub
    from sonde.hub import HubConfig as HubConfig
    from sonde.hub import HubStats as HubStats
    from sonde.hub import Subscription as Subscription
    from sonde.hub import SubscriptionStats as SubscriptionStats
    from sonde.instrument import ContentCapture as ContentCapture
    from sonde.instrument import FilePrices as FilePrices
    from sonde.instrument import GenaiPrices as GenaiPrices
    from sonde.instrument import NoPrices as NoPrices
    from sonde.instrument import Operation as Operation
    from sonde.instrument import PriceTable as PriceTable
    from sonde.persister import DEFAULT_PERSIST_BATCH_SIZE as DEFAULT_PERSIST_BATCH_SIZE
    from sonde.persister import DEFAULT_PERSIST_FLUSH_INTERVAL_S as DEFAULT_PERSIST_FLUSH_INTERVAL_S
    from sonde.persister import FlushReport as FlushReport
    from sonde.persister import Persister as Persister
    from sonde.recorder import Recorder as Recorder
    from sonde.recorder import RecorderStats as RecorderStats
    from sonde.recorder import record as record
    from sonde.redaction import NoRedactor as NoRedactor
    from sonde.redaction import Redactor as Redactor
    from sonde.redaction import SecretRedactor as SecretRedactor
    from sonde.store import AppendResult as AppendResult
    from sonde.store import Durability as Durability
    from sonde.store import EventStore as EventStore
    from sonde.store import Record as Record
    from sonde.store import SQLiteStore as SQLiteStore

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
    "Redactor": "redaction",
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
