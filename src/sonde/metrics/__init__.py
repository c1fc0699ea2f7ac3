"""Metrics: counters, gauges and histograms that are exact under threads and signals, and cost next to nothing.

>>> from sonde.metrics import Registry
>>> registry = Registry()
>>> registry.counter("tool_calls_total", {"tool_name": "read_file"}).inc()
>>> registry.histogram("tool_duration_seconds").observe(0.25)
>>> [str(counter) for counter in registry.counters()]
['tool_calls_total{tool_name=read_file} 1']
"""

from sonde.metrics.codec import SeriesKey
from sonde.metrics.counter import Counter
from sonde.metrics.derived import DerivedMetrics
from sonde.metrics.description import Description
from sonde.metrics.family import Family
from sonde.metrics.gauge import Gauge
from sonde.metrics.histogram import DEFAULT_HISTOGRAM_BUCKETS, Histogram, HistogramSnapshot
from sonde.metrics.labels import Labels
from sonde.metrics.memory import Footprint, GcStats, MachineMemory, MemoryStats, get_memory_stats, get_rss
from sonde.metrics.memory_cgroup import CgroupMemory
from sonde.metrics.metric import Metric, MetricType
from sonde.metrics.names import (
    ACTIVE_SESSIONS,
    MEMORY_USAGE_BYTES,
    MODEL_LATENCY_SECONDS,
    MODEL_REQUESTS_TOTAL,
    STORAGE_ERRORS_TOTAL,
    STORAGE_OPERATIONS_TOTAL,
    TOOL_CALLS_TOTAL,
    TOOL_DURATION_SECONDS,
)
from sonde.metrics.predefined import (
    dec_active_sessions,
    inc_active_sessions,
    record_memory_stats,
    record_model_latency,
    record_model_request,
    record_storage_error,
    record_storage_operation,
    record_tool_call,
    record_tool_duration,
    set_active_sessions,
)
from sonde.metrics.reading import CounterReading, GaugeReading, Reading
from sonde.metrics.registry import DEFAULT_REGISTRY, Registry, counter, gauge, histogram
from sonde.metrics.rules import (
    GENAI_CONVENTIONS,
    MODEL_COST_USD_TOTAL,
    MODEL_TOKENS_TOTAL,
    MODEL_UNKNOWN_COST_CALLS,
    OPERATION_FAILURES_TOTAL,
    RULES,
    RULES_VERSION,
    Fact,
    Rule,
)
from sonde.metrics.sketch import Sketch
from sonde.metrics.snapshot import RegistrySnapshot
from sonde.metrics.timer import Timer
from sonde.metrics.window import Window, WindowReading

__all__ = [
    "ACTIVE_SESSIONS",
    "DEFAULT_HISTOGRAM_BUCKETS",
    "DEFAULT_REGISTRY",
    "GENAI_CONVENTIONS",
    "MEMORY_USAGE_BYTES",
    "MODEL_COST_USD_TOTAL",
    "MODEL_LATENCY_SECONDS",
    "MODEL_REQUESTS_TOTAL",
    "MODEL_TOKENS_TOTAL",
    "MODEL_UNKNOWN_COST_CALLS",
    "OPERATION_FAILURES_TOTAL",
    "RULES",
    "RULES_VERSION",
    "STORAGE_ERRORS_TOTAL",
    "STORAGE_OPERATIONS_TOTAL",
    "TOOL_CALLS_TOTAL",
    "TOOL_DURATION_SECONDS",
    "CgroupMemory",
    "Counter",
    "CounterReading",
    "DerivedMetrics",
    "Description",
    "Fact",
    "Family",
    "Footprint",
    "Gauge",
    "GaugeReading",
    "GcStats",
    "Histogram",
    "HistogramSnapshot",
    "Labels",
    "MachineMemory",
    "MemoryStats",
    "Metric",
    "MetricType",
    "Reading",
    "Registry",
    "RegistrySnapshot",
    "Rule",
    "SeriesKey",
    "Sketch",
    "Timer",
    "Window",
    "WindowReading",
    "counter",
    "dec_active_sessions",
    "gauge",
    "get_memory_stats",
    "get_rss",
    "histogram",
    "inc_active_sessions",
    "record_memory_stats",
    "record_model_latency",
    "record_model_request",
    "record_storage_error",
    "record_storage_operation",
    "record_tool_call",
    "record_tool_duration",
    "set_active_sessions",
]
