"""Table: events as CSV, with the columns that the store's own view has."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from sonde.events import RecordedEvent, encode_data, format_timestamp, sanitize
from sonde.exporters.batch import Progress, batches
from sonde.exporters.destination import Out, open_destination
from sonde.redaction import Redactor

COLUMNS = (
    "id",
    "stream_id",
    "event_type",
    "version",
    "session_id",
    "plan_id",
    "task_id",
    "timestamp",
    "trace_id",
    "span_id",
    "parent_id",
    "data",
)
_BATCH = 1_000


def write(
    events: Iterable[RecordedEvent],
    out: Out,
    *,
    overwrite: bool = False,
    redactor: Redactor | None = None,
    progress: Progress | None = None,
) -> int:
    """Write events as CSV (RFC 4180, UTF-8, a heading line); says how many. Streams; some 5 µs an event.

    ``id`` is the position, ``timestamp`` RFC 3339 in UTC with nanoseconds, ``data`` canonical JSON. A path is written
    atomically, with mode 0600, and compressed if it ends in ``.gz``
    (see :func:`~sonde.exporters.destination.open_destination`, also for the errors).

    >>> out = io.BytesIO()
    >>> write([], out), out.getvalue().startswith(b"id,stream_id,event_type,version,")
    (0, True)
    """
    written = 0
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    with open_destination(out, overwrite=overwrite) as file:
        for batch in batches(events, _BATCH, redactor=redactor, progress=progress):
            rows.writerows(_row(event) for event in batch)
            file.write(_taken(text))
            written += len(batch)
        file.write(_taken(text))  # the heading, where there were no events
    return written


def _row(event: RecordedEvent) -> tuple[object, ...]:
    return (
        str(event.position),
        event.stream_id,
        event.type,
        event.version,
        event.session_id,
        event.plan_id,
        event.task_id,
        format_timestamp(event.time_ns),
        event.trace_id,
        event.span_id,
        event.parent_id,
        encode_data(sanitize(event.data)).decode(),
    )


def _taken(text: io.StringIO) -> bytes:
    taken = text.getvalue()
    text.seek(0)
    text.truncate()
    return taken.encode("utf-8", "backslashreplace")
