"""JSONL: the original's wire form, one event a line. ``sonde import`` reads it back."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sonde.events import Event, PublishedEvent
from sonde.exporters.batch import Progress, batches
from sonde.exporters.destination import Out, open_destination
from sonde.redaction import Redactor

_BATCH = 1_000


def write(
    events: Iterable[Event],
    out: Out,
    *,
    overwrite: bool = False,
    redactor: Redactor | None = None,
    progress: Progress | None = None,
) -> int:
    """Write events as JSON lines, UTF-8; says how many. Streams, so a store of any size fits; some 3 µs an event.

    An event with an identity has it behind the wire form, as ``writerId`` and ``seq``, by which ``sonde import`` knows
    it again. Stream and version have no place: the order of the lines is all that stays of them.
    A path is written atomically, with mode 0600, and compressed if it ends in ``.gz``
    (see :func:`~sonde.exporters.destination.open_destination`, also for the errors).

    >>> import io
    >>> out = io.BytesIO()
    >>> write([Event("tool.started", 10**9, data={"tool": "search"})], out)
    1
    >>> out.getvalue()
    b'{"type":"tool.started","timestamp":"1970-01-01T00:00:01Z","data":{"tool":"search"}}\\n'
    """
    written = 0
    with open_destination(out, overwrite=overwrite) as file:
        for batch in batches(events, _BATCH, redactor=redactor, progress=progress):
            file.write(b"".join(_line(event) for event in batch))
            written += len(batch)
    return written


def _line(event: Event) -> bytes:
    line = event.to_json()
    if isinstance(event, PublishedEvent) and event.writer_id and event.seq > 0:
        return b'%b,"writerId":%b,"seq":%d}\n' % (line[:-1], _encode(event.writer_id), event.seq)
    return line + b"\n"


_encode = msgspec.json.Encoder().encode
