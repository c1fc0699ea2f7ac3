"""sonde: the flight recorder for AI agents.

>>> import sonde
>>> with sonde.record(":memory:") as rec:
...     with rec.tool("read_file", path="a.py"):
...         pass
"""

# Not from ``typing``: nothing is imported before the command ``sonde`` can see to Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers, which do not run __getattr__; ``as`` makes a name public to them
    from typing import Any

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
    from sonde.errors import MetricTypeError as MetricTypeError
    from sonde.errors import MissingExtraError as MissingExtraError
    from sonde.errors import ProfileError as ProfileError
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
    from sonde.exporters.prometheus import MetricsServer as MetricsServer
    from sonde.exporters.prometheus import metrics_app as metrics_app
    from sonde.exporters.prometheus import render_prometheus as render_prometheus
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
    from sonde.metrics import ACTIVE_SESSIONS as ACTIVE_SESSIONS
    from sonde.metrics import DEFAULT_HISTOGRAM_BUCKETS as DEFAULT_HISTOGRAM_BUCKETS
    from sonde.metrics import DEFAULT_REGISTRY as DEFAULT_REGISTRY
    from sonde.metrics import MEMORY_USAGE_BYTES as MEMORY_USAGE_BYTES
    from sonde.metrics import MODEL_LATENCY_SECONDS as MODEL_LATENCY_SECONDS
    from sonde.metrics import MODEL_REQUESTS_TOTAL as MODEL_REQUESTS_TOTAL
    from sonde.metrics import STORAGE_ERRORS_TOTAL as STORAGE_ERRORS_TOTAL
    from sonde.metrics import STORAGE_OPERATIONS_TOTAL as STORAGE_OPERATIONS_TOTAL
    from sonde.metrics import TOOL_CALLS_TOTAL as TOOL_CALLS_TOTAL
    from sonde.metrics import TOOL_DURATION_SECONDS as TOOL_DURATION_SECONDS
    from sonde.metrics import Counter as Counter
    from sonde.metrics import Gauge as Gauge
    from sonde.metrics import Histogram as Histogram
    from sonde.metrics import MemoryStats as MemoryStats
    from sonde.metrics import Metric as Metric
    from sonde.metrics import MetricType as MetricType
    from sonde.metrics import Registry as Registry
    from sonde.metrics import Timer as Timer
    from sonde.metrics import Window as Window
    from sonde.metrics import counter as counter
    from sonde.metrics import dec_active_sessions as dec_active_sessions
    from sonde.metrics import gauge as gauge
    from sonde.metrics import get_memory_stats as get_memory_stats
    from sonde.metrics import histogram as histogram
    from sonde.metrics import inc_active_sessions as inc_active_sessions
    from sonde.metrics import record_memory_stats as record_memory_stats
    from sonde.metrics import record_model_latency as record_model_latency
    from sonde.metrics import record_model_request as record_model_request
    from sonde.metrics import record_storage_error as record_storage_error
    from sonde.metrics import record_storage_operation as record_storage_operation
    from sonde.metrics import record_tool_call as record_tool_call
    from sonde.metrics import record_tool_duration as record_tool_duration
    from sonde.metrics import set_active_sessions as set_active_sessions
    from sonde.persister import DEFAULT_PERSIST_BATCH_SIZE as DEFAULT_PERSIST_BATCH_SIZE
    from sonde.persister import DEFAULT_PERSIST_FLUSH_INTERVAL_S as DEFAULT_PERSIST_FLUSH_INTERVAL_S
    from sonde.persister import FlushReport as FlushReport
    from sonde.persister import Persister as Persister
    from sonde.profiling import Profile as Profile
    from sonde.profiling import ProfileConfig as ProfileConfig
    from sonde.profiling import ProfileRecorder as ProfileRecorder
    from sonde.profiling import ProfileReport as ProfileReport
    from sonde.profiling import cpu_profile as cpu_profile
    from sonde.profiling import heap_window as heap_window
    from sonde.profiling import start_cpu_profile as start_cpu_profile
    from sonde.profiling import stop_cpu_profile as stop_cpu_profile
    from sonde.profiling import waiting_profile as waiting_profile
    from sonde.profiling import write_heap_profile as write_heap_profile
    from sonde.recorder import Recorder as Recorder
    from sonde.recorder import RecorderStats as RecorderStats
    from sonde.recorder import record as record
    from sonde.redaction import NoRedactor as NoRedactor
    from sonde.redaction import Redactor as Redactor
    from sonde.redaction import SecretRedactor as SecretRedactor
    from sonde.redaction import SecretRule as SecretRule
    from sonde.store import AppendResult as AppendResult
    from sonde.store import Durability as Durability
    from sonde.store import EventStore as EventStore
    from sonde.store import PruneReport as PruneReport
    from sonde.store import Record as Record
    from sonde.store import Retention as Retention
    from sonde.store import SQLiteStore as SQLiteStore

# Public name → the module that has it. Each is imported when it is first used.
_HOMES = {
    "ACTIVE_SESSIONS": "metrics",
    "AppendResult": "store",
    "Clock": "clock",
    "ConfigError": "errors",
    "ContentCapture": "instrument",
    "Counter": "metrics",
    "DEFAULT_BATCH_SIZE": "hub",
    "DEFAULT_EVENT_QUEUE_SIZE": "hub",
    "DEFAULT_FLUSH_INTERVAL_S": "hub",
    "DEFAULT_HISTOGRAM_BUCKETS": "metrics",
    "DEFAULT_PERSIST_BATCH_SIZE": "persister",
    "DEFAULT_PERSIST_FLUSH_INTERVAL_S": "persister",
    "DEFAULT_RATE_LIMIT": "hub",
    "DEFAULT_REGISTRY": "metrics",
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
    "Gauge": "metrics",
    "GenaiPrices": "instrument",
    "Histogram": "metrics",
    "Hub": "hub",
    "HubConfig": "hub",
    "HubStats": "hub",
    "MEMORY_USAGE_BYTES": "metrics",
    "MODEL_LATENCY_SECONDS": "metrics",
    "MODEL_REQUESTS_TOTAL": "metrics",
    "ManualClock": "clock",
    "MemoryStats": "metrics",
    "Metric": "metrics",
    "MetricType": "metrics",
    "MetricTypeError": "errors",
    "MetricsServer": "exporters.prometheus",
    "MissingExtraError": "errors",
    "NoPrices": "instrument",
    "NoRedactor": "redaction",
    "Operation": "instrument",
    "Persister": "persister",
    "Position": "events",
    "PriceTable": "instrument",
    "Profile": "profiling",
    "ProfileConfig": "profiling",
    "ProfileError": "errors",
    "ProfileRecorder": "profiling",
    "ProfileReport": "profiling",
    "PruneReport": "store",
    "PublishedEvent": "events",
    "Record": "store",
    "RecordedEvent": "events",
    "Recorder": "recorder",
    "RecorderStats": "recorder",
    "Redactor": "redaction",
    "Registry": "metrics",
    "Retention": "store",
    "SQLiteStore": "store",
    "STORAGE_ERRORS_TOTAL": "metrics",
    "STORAGE_OPERATIONS_TOTAL": "metrics",
    "Scope": "context",
    "SecretRedactor": "redaction",
    "SecretRule": "redaction",
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
    "TOOL_CALLS_TOTAL": "metrics",
    "TOOL_DURATION_SECONDS": "metrics",
    "Timer": "metrics",
    "Window": "metrics",
    "WrongExpectedVersionError": "errors",
    "counter": "metrics",
    "cpu_profile": "profiling",
    "current_scope": "context",
    "dec_active_sessions": "metrics",
    "gauge": "metrics",
    "get_memory_stats": "metrics",
    "heap_window": "profiling",
    "histogram": "metrics",
    "inc_active_sessions": "metrics",
    "metrics_app": "exporters.prometheus",
    "propagate": "context",
    "record": "recorder",
    "record_memory_stats": "metrics",
    "record_model_latency": "metrics",
    "record_model_request": "metrics",
    "record_storage_error": "metrics",
    "record_storage_operation": "metrics",
    "record_tool_call": "metrics",
    "record_tool_duration": "metrics",
    "render_prometheus": "exporters.prometheus",
    "set_active_sessions": "metrics",
    "start_cpu_profile": "profiling",
    "stop_cpu_profile": "profiling",
    "waiting_profile": "profiling",
    "write_heap_profile": "profiling",
}

_ROOMS = frozenset(
    {
        "context",
        "errors",
        "events",
        "exporters",
        "hub",
        "metrics",
        "profiling",
        "query",
        "receivers",
        "redaction",
        "store",
    }
)

__all__ = [*_HOMES]  # noqa: PLE0604  # the table is the list


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"sonde.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sonde' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"sonde.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
