"""Documents: the JSON objects that ``--json`` prints. Their fields are a promise; docs/cli.md explains each."""

from __future__ import annotations

from typing import Any

import msgspec

from sonde.events import Event, RecordedEvent, format_timestamp


class EventDocument(msgspec.Struct, frozen=True):
    """One event, of ``tail`` and ``replay``."""

    type: str
    timestamp: str
    time_ns: int
    session_id: str
    plan_id: str
    task_id: str
    trace_id: str
    span_id: str
    parent_id: str
    stream_id: str
    version: int
    position: str
    writer_id: str
    seq: int
    data: dict[str, Any]


def event_document(event: Event) -> EventDocument:
    """The document of an event; what only a store gives is empty where it comes from none."""
    recorded = event if isinstance(event, RecordedEvent) else None
    return EventDocument(
        type=event.type,
        timestamp=format_timestamp(event.time_ns),
        time_ns=event.time_ns,
        session_id=event.session_id,
        plan_id=event.plan_id,
        task_id=event.task_id,
        trace_id=event.trace_id,
        span_id=event.span_id,
        parent_id=event.parent_id,
        stream_id=recorded.stream_id if recorded else "",
        version=recorded.version if recorded else 0,
        position=str(recorded.position) if recorded else "",
        writer_id=recorded.writer_id if recorded else "",
        seq=recorded.seq if recorded else 0,
        data=event.data,
    )


def fields_text(*documents: type[msgspec.Struct]) -> str:
    """What a command's help says about its ``--json``, for click's ``epilog``.

    >>> fields_text(EventDocument)[:40]
    'JSON fields: type, timestamp, time_ns, s'
    """
    parts = []
    for document in documents:
        names = ", ".join(document.__struct_fields__)
        kind = "" if len(documents) == 1 else f" of {document.__name__.removesuffix('Document').lower()} lines"
        parts.append(f"JSON fields{kind}: {names}.")
    return "\n\n".join(parts) + "\n\nWhat they mean: docs/cli.md."
