"""Store: another store of sonde's, merged into one: each event once, known by its writer and number."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec

from sonde.events import RecordedEvent, encode_data, sanitize
from sonde.receivers.intake import BATCH_BYTES, BATCH_EVENTS, ImportReport
from sonde.redaction import Redactor, SecretRedactor
from sonde.store import open as open_store
from sonde.store.contract import EventStore, Record

MergeProgress = Callable[[int, int], object]
"""Called with the number of events read so far and that of all, after each batch."""


def import_store(
    store: EventStore,
    path: str | os.PathLike[str],
    *,
    stream_id: str | None = None,
    redactor: Redactor | None = None,
    progress: MergeProgress | None = None,
) -> ImportReport:
    """Copy what the store at ``path`` has and ``store`` has not, in its order of commit; the file itself is only read.

    An event keeps its writer and number, by which it is known: copies of one store that went on separately become one
    again, in whichever order they are imported, and importing twice adds nothing. The events of a writer keep their
    order; those of a stream that several stores have stand one store after the other, under versions of this store,
    however the clocks of the machines were set. Large data that is there already is not stored again.

    Secrets are taken out by a ``SecretRedactor`` unless another redactor is given. Streams keep their names unless
    ``stream_id`` puts everything into one. In memory are a batch, 8 MB of JSON or 2,000 events, and a page of 500 that
    are read. Blocks. Safe to interrupt or kill: a batch is there or is not, and the next import adds the rest.

    Raises:
        StoreError: the file is no event store, is damaged, or the store does not take a batch.

    >>> import tempfile
    >>> from sonde.events import Event
    >>> from sonde.store import SQLiteStore
    >>> with tempfile.TemporaryDirectory() as folder, SQLiteStore(":memory:") as merged:
    ...     with SQLiteStore(f"{folder}/other.db") as other:
    ...         _ = other.append("s-1", [Event("tool.started"), Event("tool.completed")])
    ...     import_store(merged, f"{folder}/other.db").imported, import_store(merged, f"{folder}/other.db").imported
    (2, 0)
    """
    redactor = SecretRedactor() if redactor is None else redactor
    read = duplicates = 0
    streams: dict[str, int] = {}
    batch: list[RecordedEvent] = []
    texts: list[bytes] = []
    size_bytes = 0
    with open_store(path, mode="ro") as source:
        total = source.health().events
        for event in source.read_all():
            batch.append(event)
            texts.append(encode_data(sanitize(event.data)))
            size_bytes += len(texts[-1])
            name = event.stream_id if stream_id is None else stream_id
            streams[name] = streams.get(name, 0) + 1
            read += 1
            if len(batch) >= BATCH_EVENTS or size_bytes >= BATCH_BYTES:
                duplicates += store.append_batch(_records(batch, texts, stream_id, redactor)).duplicates
                batch, texts, size_bytes = [], [], 0
                if progress is not None:
                    progress(read, max(read, total))
    duplicates += store.append_batch(_records(batch, texts, stream_id, redactor)).duplicates
    if progress is not None:
        progress(read, read)
    return ImportReport(read, read - duplicates, duplicates, [], 0, streams)


def _records(
    events: Sequence[RecordedEvent], texts: Sequence[bytes], stream_id: str | None, redactor: Redactor
) -> list[Record]:
    records = [
        Record(event.stream_id if stream_id is None else stream_id, event.writer_id, event.seq, event, text)
        for event, text in zip(events, texts, strict=True)
    ]
    for index in redactor.suspects(texts):
        event = events[index]
        clean = sanitize(event.data)
        data = redactor.redact(clean)
        if data is not clean:
            changed = msgspec.structs.replace(event, data=data)
            records[index] = msgspec.structs.replace(records[index], event=changed, data_json=encode_data(data))
    return records
