"""Intake: what every importer does with an event: identify, redact, write in batches, count.

An event that sonde exported keeps its writer and number. Else identity is content: the writer is ``import-<stream>``,
``seq`` a hash of what it says, of its stream, and of how many equal events came before it. So the same file, whole or
grown, in whatever format it is kept, adds only what the store does not have. The hash is taken before redaction: other
rules do not make other events.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from sonde.errors import EventDecodeError
from sonde.events import Event, encode_data, sanitize
from sonde.redaction import Redactor, SecretRedactor
from sonde.store.contract import EventStore, Record

Progress = Callable[[int], object]
"""Called with the number of events read so far, after each batch."""

BATCH_EVENTS = 2_000
BATCH_BYTES = 8 * 1024 * 1024
MAX_SKIPPED = 1_000
"""Skipped lines that are listed; the others are counted."""

_TIME_NS_MAX = 2**63 - 1


class ImportReport(msgspec.Struct, frozen=True):
    """What an import did. ``read = imported + duplicates``; what was skipped is in none of them.

    ``duplicates`` are events that the store has, or had before retention removed them.

    ``skipped`` has line numbers and reasons, the first 1,000; ``skipped_count`` counts all. ``streams`` tells how many
    events were read for each stream.
    """

    read: int
    imported: int
    duplicates: int
    skipped: list[tuple[int, str]]
    skipped_count: int
    streams: dict[str, int]


class Intake:
    """Writes events into a store, in batches of some 2,000. For one thread; blocks on the store.

    Remembers 8 bytes of each distinct event, some 100 in Python's terms: 100 MB for a million.
    """

    def __init__(self, store: EventStore, *, redactor: Redactor | None, progress: Progress | None) -> None:
        """``redactor=None`` takes secrets out with a ``SecretRedactor``; ``NoRedactor()`` keeps them."""
        self._store = store
        self._redactor = redactor or SecretRedactor()
        self._progress = progress
        self._pending: list[Record] = []
        self._pending_bytes = 0
        self._seen: dict[int, int] = {}
        self._duplicates = 0
        self._read = 0
        self._skipped: list[tuple[int, str]] = []
        self._skipped_count = 0
        self._streams: dict[str, int] = {}

    def add(self, stream_id: str, event: Event, identity: tuple[str, int] | None = None) -> None:
        """Take one event, with its writer and number if it has them; writes when a batch is full.

        Raises:
            EventDecodeError: its time does not fit 64 bits of nanoseconds.
            StoreError: the store does not take the batch.
        """
        if abs(event.time_ns) > _TIME_NS_MAX:
            raise EventDecodeError("cannot read event: its timestamp lies outside the years 1678 to 2261")
        data_json = encode_data(sanitize(event.data))
        writer_id, seq = identity or (f"import-{stream_id}", self._seq(stream_id, event, data_json))
        self._pending.append(Record(stream_id, writer_id, seq, event, data_json))
        self._pending_bytes += len(data_json)
        self._read += 1
        self._streams[stream_id] = self._streams.get(stream_id, 0) + 1
        if len(self._pending) >= BATCH_EVENTS or self._pending_bytes >= BATCH_BYTES:
            self.flush()

    def skip(self, line: int, reason: str) -> None:
        """Count a line that is no event."""
        self._skipped_count += 1
        if len(self._skipped) < MAX_SKIPPED:
            self._skipped.append((line, reason))

    def flush(self) -> None:
        """Write what is pending."""
        if self._pending:
            result = self._store.append_batch(self._redacted(self._pending))
            self._duplicates += result.duplicates
            self._pending = []
            self._pending_bytes = 0
        if self._progress is not None:
            self._progress(self._read)

    def report(self) -> ImportReport:
        """Write what is pending and say what was done."""
        self.flush()
        return ImportReport(
            self._read,
            self._read - self._duplicates,
            self._duplicates,
            self._skipped,
            self._skipped_count,
            self._streams,
        )

    def _seq(self, stream_id: str, event: Event, data_json: bytes) -> int:
        said = msgspec.json.encode(
            (
                stream_id,
                event.type,
                event.time_ns,
                event.session_id,
                event.plan_id,
                event.task_id,
                event.trace_id,
                event.span_id,
                event.parent_id,
            )
        )
        content = blake2b(said + data_json, digest_size=8)
        key = int.from_bytes(content.digest(), "big")
        ordinal = self._seen.get(key, 0)
        self._seen[key] = ordinal + 1
        if ordinal:
            content.update(b"\n%d" % ordinal)
        return (int.from_bytes(content.digest(), "big") >> 1) or 1

    def _redacted(self, records: list[Record]) -> list[Record]:
        redactor = self._redactor
        for index in redactor.suspects([record.data_json or b"{}" for record in records]):
            record = records[index]
            clean = sanitize(record.event.data)
            data = redactor.redact(clean)
            if data is not clean:
                event = msgspec.structs.replace(record.event, data=data)
                records[index] = msgspec.structs.replace(record, event=event, data_json=encode_data(data))
        return records
