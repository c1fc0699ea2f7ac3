"""Loggers: structlog, loguru and the standard library's, each writing JSON where it is thrown away."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager

import loguru
import orjson
import structlog

from benchmarks.payload import EVENT_TYPE
from benchmarks.peers.subject import Subject


@contextmanager
def structlog_json() -> Iterator[Subject]:
    """structlog: its page on performance: BytesLogger, orjson, cached loggers, filtering at a level; to /dev/null."""
    with open(os.devnull, "wb") as sink:
        structlog.configure(
            cache_logger_on_first_use=True,
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            logger_factory=structlog.BytesLoggerFactory(sink),
        )
        yield Subject("info(kind, **PAYLOAD)", {"info": structlog.get_logger().info, "kind": EVENT_TYPE}, sink.flush)


@contextmanager
def loguru_enqueued() -> Iterator[Subject]:
    """loguru: ``serialize``, ``enqueue``, no diagnosis; sink discards. Its queue is a pipe: it waits when full."""
    logger = loguru.logger
    logger.remove()
    logger.add(lambda message: None, serialize=True, enqueue=True, backtrace=False, diagnose=False)
    yield Subject("info(kind, **PAYLOAD)", {"info": logger.info, "kind": EVENT_TYPE}, logger.complete)
    logger.remove()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"message": record.getMessage(), "time": record.created, **record.__dict__["data"]})


@contextmanager
def standard_queue() -> Iterator[Subject]:
    """logging: QueueHandler without a bound, QueueListener, JSON by the standard library, to /dev/null."""
    logger = logging.getLogger("sonde-bench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    with open(os.devnull, "w", encoding="utf-8") as sink:
        handler = logging.StreamHandler(sink)
        handler.setFormatter(_JsonFormatter())
        enqueue = logging.handlers.QueueHandler(waiting)
        logger.addHandler(enqueue)
        listener = logging.handlers.QueueListener(waiting, handler)
        listener.start()

        def settle() -> None:
            listener.stop()
            listener.start()

        yield Subject("info(kind, extra={'data': PAYLOAD})", {"info": logger.info, "kind": EVENT_TYPE}, settle)
        listener.stop()
        logger.removeHandler(enqueue)
