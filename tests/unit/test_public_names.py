"""The public surface: what ``import sonde`` offers, and what it does not load."""

from __future__ import annotations

import json
import subprocess
import sys

import sonde

NAMES = [
    "ACTIVE_SESSIONS",
    "AppendResult",
    "Clock",
    "ConfigError",
    "ContentCapture",
    "Counter",
    "DEFAULT_BATCH_SIZE",
    "DEFAULT_EVENT_QUEUE_SIZE",
    "DEFAULT_FLUSH_INTERVAL_S",
    "DEFAULT_HISTOGRAM_BUCKETS",
    "DEFAULT_PERSIST_BATCH_SIZE",
    "DEFAULT_PERSIST_FLUSH_INTERVAL_S",
    "DEFAULT_RATE_LIMIT",
    "DEFAULT_REGISTRY",
    "DEFAULT_SUBSCRIBER_QUEUE_SIZE",
    "Durability",
    "Event",
    "EventDecodeError",
    "EventEncodeError",
    "EventError",
    "EventStore",
    "EventType",
    "FilePrices",
    "FlushReport",
    "Gauge",
    "GenaiPrices",
    "Histogram",
    "Hub",
    "HubConfig",
    "HubStats",
    "MEMORY_USAGE_BYTES",
    "MODEL_LATENCY_SECONDS",
    "MODEL_REQUESTS_TOTAL",
    "ManualClock",
    "MemoryStats",
    "Metric",
    "MetricType",
    "MetricTypeError",
    "MetricsServer",
    "MissingExtraError",
    "NoPrices",
    "NoRedactor",
    "Operation",
    "Persister",
    "Position",
    "PriceTable",
    "Profile",
    "ProfileConfig",
    "ProfileError",
    "ProfileRecorder",
    "ProfileReport",
    "PruneReport",
    "PublishedEvent",
    "Record",
    "RecordedEvent",
    "Recorder",
    "RecorderStats",
    "Redactor",
    "Registry",
    "Retention",
    "SQLiteStore",
    "STORAGE_ERRORS_TOTAL",
    "STORAGE_OPERATIONS_TOTAL",
    "Scope",
    "SecretRedactor",
    "SecretRule",
    "SessionNotFoundError",
    "SondeError",
    "StoreClosedError",
    "StoreCorruptError",
    "StoreError",
    "StoreFormatError",
    "StoreNotFoundError",
    "StorePermissionError",
    "StoreSchemaError",
    "StoreUnavailableError",
    "Subscription",
    "SubscriptionStats",
    "SystemClock",
    "TOOL_CALLS_TOTAL",
    "TOOL_DURATION_SECONDS",
    "Timer",
    "Window",
    "WrongExpectedVersionError",
    "counter",
    "cpu_profile",
    "current_scope",
    "dec_active_sessions",
    "gauge",
    "get_memory_stats",
    "heap_window",
    "histogram",
    "inc_active_sessions",
    "metrics_app",
    "propagate",
    "record",
    "record_memory_stats",
    "record_model_latency",
    "record_model_request",
    "record_storage_error",
    "record_storage_operation",
    "record_tool_call",
    "record_tool_duration",
    "render_prometheus",
    "set_active_sessions",
    "start_cpu_profile",
    "stop_cpu_profile",
    "waiting_profile",
    "write_heap_profile",
]


def test_the_names_are_these() -> None:
    """A public name comes or goes only on purpose."""
    assert sorted(sonde.__all__) == sorted(NAMES)


def test_every_name_is_there() -> None:
    """Each name of the table leads to something, and so do the rooms."""
    for name in sonde.__all__:
        assert getattr(sonde, name) is not None
    assert sonde.store.open is not None
    assert set(sonde.__all__) <= set(dir(sonde))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As in every module."""
    assert not hasattr(sonde, "flight_recorder")


def test_import_loads_next_to_nothing() -> None:
    """``import sonde`` loads neither asyncio nor the store's driver, the terminal's libraries, or anything optional."""
    code = "import sys, json; old = set(sys.modules); import sonde; print(json.dumps(sorted(set(sys.modules) - old)))"
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    )
    heavy = {
        "asyncio",
        "apsw",
        "re2",
        "click",
        "rich",
        "platformdirs",
        "msgspec",
        "pyarrow",
        "genai_prices",
        "opentelemetry",
        "prometheus_client",
    }
    assert not heavy & {name.partition(".")[0] for name in loaded}


def test_emitting_loads_no_asyncio() -> None:
    """Recording in a program without asyncio does not load it, nor the command line."""
    code = (
        "import sys, sonde\n"
        "with sonde.record(':memory:') as rec:\n"
        "    rec.emit('n')\n"
        "    with rec.tool('x'): pass\n"
        "heavy = ('asyncio', 'click', 'rich', 'genai_prices', 'prometheus_client')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
