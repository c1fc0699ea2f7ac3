"""OpenTelemetry: the SDK's batch processors, as its documentation recommends, and an exporter that discards.

All sizes and delays are the defaults, but for the queue: it holds a whole block, since a full one logs a warning with
each call, and would make the peer look slow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.payload import EVENT_TYPE
from benchmarks.peers.subject import Subject

QUEUE_SIZE = 1 << 18


class DiscardingLogs(LogRecordExporter):
    """Takes log records and does nothing with them."""

    def export(self, batch: object) -> LogRecordExportResult:  # noqa: D102  # documented in the interface
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:  # noqa: D102  # documented in the interface
        return None

    def force_flush(self, timeout_millis: int = 0) -> bool:  # noqa: D102  # documented in the interface
        return True


class DiscardingSpans(SpanExporter):
    """Takes spans and does nothing with them."""

    def export(self, spans: object) -> SpanExportResult:  # noqa: D102  # documented in the interface
        return SpanExportResult.SUCCESS


def batch_span_processor() -> BatchSpanProcessor:
    """Spans in batches to an exporter that discards."""
    return BatchSpanProcessor(DiscardingSpans(), max_queue_size=QUEUE_SIZE)


@contextmanager
def logs() -> Iterator[Subject]:
    """OpenTelemetry SDK: one log record with attributes, BatchLogRecordProcessor, exporter that discards."""
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(DiscardingLogs(), max_queue_size=QUEUE_SIZE))
    yield Subject(
        "emit(LogRecord(timestamp=time_ns(), severity_number=info, body=kind, attributes=PAYLOAD))",
        {
            "emit": provider.get_logger("bench").emit,
            "LogRecord": LogRecord,
            "time_ns": time.time_ns,
            "info": SeverityNumber.INFO,
            "kind": EVENT_TYPE,
        },
        provider.force_flush,
    )
    provider.shutdown()


@contextmanager
def spans() -> Iterator[Subject]:
    """OpenTelemetry SDK: one span around nothing, an attribute at both ends, BatchSpanProcessor, exporter discards."""
    provider = TracerProvider()
    provider.add_span_processor(batch_span_processor())
    yield Subject(
        "with span('read_file', attributes={'path': 'a.py'}) as s: s.set_attribute('result', 'print(1)')",
        {"span": provider.get_tracer("bench").start_as_current_span},
        provider.force_flush,
    )
    provider.shutdown()
