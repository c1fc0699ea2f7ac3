"""Names of the predefined metrics, which every program with an agent has; the Go original's."""

from __future__ import annotations

TOOL_CALLS_TOTAL = "tool_calls_total"
TOOL_DURATION_SECONDS = "tool_duration_seconds"
MODEL_REQUESTS_TOTAL = "model_requests_total"
MODEL_LATENCY_SECONDS = "model_latency_seconds"
STORAGE_OPERATIONS_TOTAL = "storage_operations_total"
STORAGE_ERRORS_TOTAL = "storage_errors_total"
ACTIVE_SESSIONS = "active_sessions"
MEMORY_USAGE_BYTES = "memory_usage_bytes"
