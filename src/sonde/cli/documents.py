"""Documents: the JSON objects that ``--json`` prints. Their fields are a promise; docs/cli.md explains each."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from sonde.events import Event, RecordedEvent, format_timestamp
from sonde.query import Operation, SessionSummary


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


class SessionDocument(msgspec.Struct, frozen=True):
    """One session, of ``sessions`` and the first line of ``show``."""

    record: str
    session_id: str
    stream_id: str
    status: str
    started: str
    started_ns: int
    last_ns: int
    ended_ns: int | None
    duration_s: float
    events: int
    operations: int
    failures: int
    missed: int
    removed: int
    tokens: dict[str, int]
    cost_usd: float | None
    cost_reported_usd: float | None
    cost_computed_usd: float | None
    cost_unknown_calls: int
    tags: list[str]
    pid: int | None
    host: str
    argv: list[str]


def session_document(summary: SessionSummary) -> SessionDocument:
    """The document of a session."""
    return SessionDocument(
        record="session",
        session_id=summary.session_id,
        stream_id=summary.stream_id,
        status=summary.status.value,
        started=format_timestamp(summary.started_ns),
        started_ns=summary.started_ns,
        last_ns=summary.last_ns,
        ended_ns=summary.ended_ns,
        duration_s=summary.duration_s,
        events=summary.events,
        operations=summary.operations,
        failures=summary.failures,
        missed=summary.missed,
        removed=summary.removed,
        tokens=summary.tokens,
        cost_usd=summary.cost.usd,
        cost_reported_usd=summary.cost.reported_usd,
        cost_computed_usd=summary.cost.computed_usd,
        cost_unknown_calls=summary.cost.unknown_calls,
        tags=summary.tags,
        pid=summary.pid,
        host=summary.host,
        argv=summary.argv,
    )


class OperationDocument(msgspec.Struct, frozen=True):
    """One operation, of ``show``."""

    record: str
    span_id: str
    parent_id: str
    trace_id: str
    depth: int
    kind: str
    name: str
    status: str
    started_ns: int | None
    ended_ns: int | None
    duration_s: float | None
    session_id: str
    plan_id: str
    task_id: str
    error_type: str
    error: str
    tokens: dict[str, int]
    cost_usd: float | None
    cost_source: str
    version: int
    events: int
    data: dict[str, Any] | None


def operation_document(operation: Operation, depth: int, *, with_data: bool) -> OperationDocument:
    """The document of an operation; its data is ``null`` unless it is asked for, as it may be long."""
    return OperationDocument(
        record="operation",
        span_id=operation.span_id,
        parent_id=operation.parent_id or (operation.parent.span_id if operation.parent else ""),
        trace_id=operation.trace_id,
        depth=depth,
        kind=operation.kind,
        name=operation.name,
        status=operation.status.value,
        started_ns=operation.start_ns or None,
        ended_ns=operation.end_ns or None,
        duration_s=operation.duration_s,
        session_id=operation.session_id,
        plan_id=operation.plan_id,
        task_id=operation.task_id,
        error_type=operation.error_type,
        error=operation.error,
        tokens=operation.tokens,
        cost_usd=operation.cost.usd,
        cost_source=operation.cost.source,
        version=operation.start_version,
        events=operation.events,
        data=operation.data if with_data else None,
    )


class DoctorDocument(msgspec.Struct, frozen=True):
    """What ``doctor`` found, one object in all."""

    path: str
    verdict: str
    damage: list[str]
    remarks: list[str]
    engine: str
    schema: int
    is_original: bool
    events: int
    sessions: int
    size_bytes: int
    wal_bytes: int
    pages: int
    free_pages: int
    mode: str
    file_system: str
    missed: int
    running: list[str]
    interrupted: list[str]
    stale: list[str]
    live_writers: int
    recovered: int
    waiting: int
    free_bytes: int
    links: int
    journals: int
    damaged_journals: int
    orphaned_arenas: int
    stale_locks: int
    strays: list[int]


class RepairDocument(msgspec.Struct, frozen=True):
    """What ``doctor --repair`` kept, and what is lost."""

    path: str
    output: str
    kept: int
    lost: int
    is_exact: bool
    lost_versions: dict[str, list[list[int]]]
    lost_numbers: dict[str, list[list[int]]]
    missed_at_most: int
    waiting: int
    quarantine: str
    quarantined: int
    pages: int
    unreadable_pages: list[int]
    unreadable_blocks: list[int]
    log_breaks: int
    missing_pages: int
    is_header_lost: bool
    invented_streams: list[str]


class ExportDocument(msgspec.Struct, frozen=True):
    """What ``export`` wrote into a file."""

    format: str
    events: int
    path: str


class ImportDocument(msgspec.Struct, frozen=True):
    """What ``import`` took from one file."""

    path: str
    db: str
    read: int
    imported: int
    duplicates: int
    skipped: int
    skipped_lines: list[dict[str, Any]]
    sessions: int


class BackupDocument(msgspec.Struct, frozen=True):
    """The copy that ``backup`` made."""

    db: str
    path: str
    size_bytes: int


class RedactDocument(msgspec.Struct, frozen=True):
    """The copy that ``redact`` made, and what is not in it."""

    db: str
    path: str
    sessions: int
    events: int
    changed: int
    replaced: dict[str, int]
    cut: int
    size_bytes: int


class PruneDocument(msgspec.Struct, frozen=True):
    """What ``prune`` removed, or would remove."""

    db: str
    dry_run: bool
    events: int
    sessions: int
    removals: list[dict[str, Any]]
    running: list[str]
    bytes_before: int
    bytes_after: int
    complete: bool
    over: bool


class RunDocument(msgspec.Struct, frozen=True):
    """How a command that ``run`` recorded ended."""

    session_id: str
    db: str
    exit_code: int
    duration_s: float
    user_cpu_s: float | None
    system_cpu_s: float | None
    max_rss_bytes: int | None
    events: int
    error: str


def fields_text(*documents: type[msgspec.Struct]) -> str:
    """What a command's help says about its ``--json``, for click's ``epilog``.

    >>> fields_text(EventDocument)[:40]
    'JSON fields: type, timestamp, time_ns, s'
    """
    parts = []
    for document in documents:
        names = ", ".join(document.__struct_fields__)
        words = re.findall("[A-Z][a-z]+", document.__name__.removesuffix("Document"))
        kind = "" if len(documents) == 1 else f" of {' '.join(words).lower()} lines"
        parts.append(f"JSON fields{kind}: {names}.")
    return "\n\n".join(parts) + "\n\nWhat they mean: docs/cli.md."
