"""SQLiteStore: an event store in one file, for many threads and processes at once."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Self

import apsw

from sonde.errors import StoreClosedError
from sonde.events import Event, Position, RecordedEvent
from sonde.store import schema
from sonde.store.connections import Connections, transaction
from sonde.store.contract import AppendResult, Durability, Record, StreamInfo
from sonde.store.failures import Translation
from sonde.store.reading import Page, Reading
from sonde.store.writing import Writing

Mode = Literal["ro", "rw", "create"]

_PAGE_ROWS = 1000
_FIRST_PAGE_ROWS = 100


class SQLiteStore:
    """An event store in an SQLite file."""

    def __init__(self, path: str | os.PathLike[str], *, mode: Mode = "create", busy_timeout_s: float = 5.0) -> None:
        path = os.fspath(path)
        self._url = path if path == ":memory:" else os.path.abspath(os.path.expanduser(path))
        self._closed = False
        self._appending = Translation("append to", self._url)
        self._reading_failures = Translation("read", self._url)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with Translation("open", self._url):
            self._connections = Connections(self._url, flags=flags, writable=True, busy_timeout_s=busy_timeout_s)
            with self._connections.exclusive() as connection:
                schema.create(connection, on_disk=self._url != ":memory:")
        self._reader = Reading(self._url)
        self._writer = Writing(self._url)
        self._writer_id = secrets.token_hex(8)
        self._seq = 0
        self._seq_lock = threading.Lock()

    @property
    def url(self) -> str:
        """The absolute path, or ``":memory:"``."""
        return self._url

    def append_batch(self, records: Sequence[Record]) -> AppendResult:
        """Write records, in order and in one transaction; streams may mix; known identities are skipped and counted."""
        if not records:
            return AppendResult(0, 0, Position.START, Durability.COMMIT, 0)
        self._check_open()
        return self._write(records, None)

    def append(self, stream_id: str, events: Iterable[Event], *, expected_version: int | None = None) -> AppendResult:
        """Write events to one stream, atomically, under the handle's own writer."""
        events = list(events)
        self._check_open()
        with self._seq_lock:
            first = self._seq + 1
            # Taken for good, even if the write fails: an interrupt just behind the commit must not make the next events
            # look like these.
            self._seq += len(events)
        records = [Record(stream_id, self._writer_id, seq, event) for seq, event in enumerate(events, first)]
        return self._write(records, expected_version)

    def _write(self, records: Sequence[Record], expected_version: int | None) -> AppendResult:
        committed = False
        with self._appending, self._connections.exclusive() as connection:
            try:
                with transaction(connection):
                    result = self._writer.append(connection, records, expected_version)
                committed = True
            finally:
                self._writer.names.settle(committed=committed)
        return result

    def read(self, stream_id: str, from_version: int = 0, *, limit: int | None = None) -> Iterator[RecordedEvent]:
        """The events of a stream from ``from_version`` (inclusive), lazily, in order of version."""
        self._check_open()

        def page(connection: apsw.Connection, start: int, rows: int) -> Page:
            return self._reader.stream_page(connection, stream_id, start, event_type=None, rows=rows)

        return self._paged(page, from_version, limit)

    def read_by_type(self, stream_id: str, event_type: str) -> Iterator[RecordedEvent]:
        """The events of one type in a stream, lazily, in order of version."""
        self._check_open()

        def page(connection: apsw.Connection, start: int, rows: int) -> Page:
            return self._reader.stream_page(connection, stream_id, start, event_type=event_type, rows=rows)

        return self._paged(page, 0, None)

    def read_all(
        self, after: Position | None = None, *, types: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[RecordedEvent]:
        """The events of all streams after a position, lazily, in order of commit."""
        self._check_open()
        wanted = None if types is None else [str(kind) for kind in types]

        def page(connection: apsw.Connection, start: int, rows: int) -> Page:
            return self._reader.all_page(connection, start, types=wanted, rows=rows)

        return self._paged(page, 0 if after is None else after.value, limit)

    def _paged(self, page, start: int, limit: int | None) -> Iterator[RecordedEvent]:  # type: ignore[no-untyped-def]
        left = limit
        rows = _FIRST_PAGE_ROWS
        going: int | None = start
        while going is not None and (left is None or left > 0):
            if self._closed:
                return
            rows_now = rows if left is None else min(rows, left)
            with self._reading_failures, self._connections.reading() as connection:
                events, going = page(connection, going, rows_now)
            if left is not None:
                events = events[:left]
                left -= len(events)
            yield from events
            rows = _PAGE_ROWS

    def streams(self) -> list[StreamInfo]:
        """All streams, in the order in which they were made."""
        self._check_open()
        with self._reading_failures, self._connections.reading() as connection:
            return self._reader.streams(connection)

    def head(self, stream_id: str) -> int:
        """The version of a stream's last event; 0 if there is no such stream."""
        self._check_open()
        with self._reading_failures, self._connections.reading() as connection:
            return self._reader.head(connection, stream_id)

    def close(self) -> None:
        """Close. Idempotent; iterators in flight end."""
        if not self._closed:
            self._closed = True
            with Translation("close", self._url):
                self._connections.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(f"cannot use event store '{self._url}': it was closed; open it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
