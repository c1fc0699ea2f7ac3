"""The predefined metrics: a recorder for each name that every program with an agent has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from sonde.metrics.counter import Counter
from sonde.metrics.histogram import Histogram
from sonde.metrics.labels import OVERFLOW_LABELS, Labels
from sonde.metrics.memory import get_memory_stats
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
from sonde.metrics.registry import DEFAULT_MAX_SERIES, counter, gauge, histogram

_M = TypeVar("_M", bound=Counter | Histogram)


class _ByLabel(dict[str, _M], Generic[_M]):
    """The series of a name by the value of its one label. A dictionary, since looking one up is most of the cost."""

    def __init__(self, get: Callable[[str, Labels], _M], name: str, label: str) -> None:
        super().__init__()
        self._get = get
        self._name = name
        self._label = label

    def __missing__(self, value: str) -> _M:
        # What a label must be is no reason to fail in the middle of an agent's work.
        made = self._get(self._name, {self._label: str(value)})
        if made.labels != OVERFLOW_LABELS and len(self) < DEFAULT_MAX_SERIES:
            self[value] = made
        return made


_TOOL_CALLS = _ByLabel(counter, TOOL_CALLS_TOTAL, "tool_name")
_TOOL_DURATIONS = _ByLabel(histogram, TOOL_DURATION_SECONDS, "tool_name")
_MODEL_REQUESTS = _ByLabel(counter, MODEL_REQUESTS_TOTAL, "model")
_STORAGE_OPERATIONS = _ByLabel(counter, STORAGE_OPERATIONS_TOTAL, "operation")
_STORAGE_ERRORS = _ByLabel(counter, STORAGE_ERRORS_TOTAL, "operation")


def record_tool_call(tool_name: str) -> None:
    """Count a call of a tool.

    >>> record_tool_call("read_file")
    >>> counter(TOOL_CALLS_TOTAL, {"tool_name": "read_file"}).get() > 0
    True
    """
    _TOOL_CALLS[tool_name].inc()


def record_tool_duration(tool_name: str, seconds: float) -> None:
    """Observe how long a tool took."""
    _TOOL_DURATIONS[tool_name].observe(seconds)


def record_model_request(model: str) -> None:
    """Count a request to a model."""
    _MODEL_REQUESTS[model].inc()


def record_model_latency(seconds: float) -> None:
    """Observe how long a model took to answer."""
    histogram(MODEL_LATENCY_SECONDS).observe(seconds)


def record_storage_operation(operation: str) -> None:
    """Count an operation of a storage."""
    _STORAGE_OPERATIONS[operation].inc()


def record_storage_error(operation: str) -> None:
    """Count an operation of a storage that failed."""
    _STORAGE_ERRORS[operation].inc()


def set_active_sessions(n: float) -> None:
    """Say how many sessions are active."""
    gauge(ACTIVE_SESSIONS).set(n)


def inc_active_sessions() -> None:
    """One more session is active."""
    gauge(ACTIVE_SESSIONS).inc()


def dec_active_sessions() -> None:
    """One session less is active."""
    gauge(ACTIVE_SESSIONS).dec()


_MEMORY_KINDS = ("rss", "peak_rss", "swap", "heap_sys", "heap_inuse", "alloc")


def record_memory_stats() -> None:
    """Set the gauges ``memory_usage_bytes{kind=...}`` to what the process holds now.

    Kinds are those of :class:`~sonde.metrics.MemoryStats`: ``rss``, ``peak_rss``, ``swap``, ``heap_sys``,
    ``heap_inuse``, ``alloc``, and ``cgroup``, the working set of the container. What is unknown is not set. Costs as
    much as :func:`~sonde.metrics.get_memory_stats`, some 200 µs.

    >>> record_memory_stats()
    >>> gauge(MEMORY_USAGE_BYTES, {"kind": "peak_rss"}).get() > 0
    True
    """
    stats = get_memory_stats()
    held = {kind: getattr(stats, kind) for kind in _MEMORY_KINDS}
    held["cgroup"] = stats.cgroup.working_set if stats.cgroup else None
    for kind, bytes_ in held.items():
        if bytes_ is not None:
            gauge(MEMORY_USAGE_BYTES, {"kind": kind}).set(bytes_)
