"""Logfire: nothing is sent, no console; spans go in batches to an exporter that discards. Scrubbing stays on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import logfire

from benchmarks.payload import EVENT_TYPE
from benchmarks.peers.opentelemetry import batch_span_processor
from benchmarks.peers.subject import Subject


def configured() -> logfire.Logfire:
    """An instance of its own, so that nothing global changes."""
    return logfire.configure(
        local=True,
        send_to_logfire=False,
        console=False,
        metrics=False,
        additional_span_processors=[batch_span_processor()],
    )


@contextmanager
def info() -> Iterator[Subject]:
    """Logfire: ``info`` with attributes, sending and console off, batch processor, exporter that discards."""
    instance = configured()
    yield Subject("info(kind, **PAYLOAD)", {"info": instance.info, "kind": EVENT_TYPE}, instance.force_flush)
    instance.shutdown()


@contextmanager
def spans() -> Iterator[Subject]:
    """Logfire: one span around nothing, an attribute at both ends; sending and console off, exporter discards."""
    instance = configured()
    yield Subject(
        "with span('read_file', path='a.py') as s: s.set_attribute('result', 'print(1)')",
        {"span": instance.span},
        instance.force_flush,
    )
    instance.shutdown()
