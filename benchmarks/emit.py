"""One emit on the publishing thread: sonde against an OpenTelemetry log record with the same attributes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult

from sonde.hub import Hub
from sonde.recorder import RECORDER_HUB

COUNT = 20_000


class Discarding(LogRecordExporter):
    """Takes everything and does nothing with it."""

    def export(self, batch: object) -> LogRecordExportResult:  # noqa: D102  # documented in the interface
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:  # noqa: D102  # documented in the interface
        return None

    def force_flush(self, timeout_millis: int = 0) -> bool:  # noqa: D102  # documented in the interface
        return True


def sonde_emit() -> float:
    """Nanoseconds an emit, with one live subscription; its queue keeps what fits, like the peer's."""
    with Hub(RECORDER_HUB) as hub, hub.subscribe():
        emit = hub.emit
        began_ns = time.perf_counter_ns()
        for n in range(COUNT):
            emit("tool.completed", {"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n})
        return (time.perf_counter_ns() - began_ns) / COUNT


def opentelemetry_emit() -> Callable[[], float]:
    """Nanoseconds a log record through the batch processor, with its default sizes and an exporter that discards."""
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)

    def run() -> float:
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(Discarding()))
        logger = provider.get_logger("bench")
        began_ns = time.perf_counter_ns()
        for n in range(COUNT):
            logger.emit(
                LogRecord(
                    timestamp=time.time_ns(),
                    severity_number=SeverityNumber.INFO,
                    body="tool.completed",
                    attributes={"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n},
                )
            )
        took_ns = time.perf_counter_ns() - began_ns
        provider.shutdown()
        return took_ns / COUNT

    return run
