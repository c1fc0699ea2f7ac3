"""SQLiteStore: an event store in one file, for many threads and processes at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Self

import apsw

from sonde.errors import (
    StoreClosedError,
    StoreCorruptError,
    StoreError,
)
from sonde.events import Event, Position, RecordedEvent
from sonde.store import copying, identities, liveness, removal, schema, verification
from sonde.store.account import KEPT_NOTES, note_event
from sonde.store.attachment import Attachment
from sonde.store.connections import transaction
from sonde.store.continuity import Continuity
from sonde.store.contract import (
    AppendResult,
    Durability,
    Liveness,
    Record,
    StoreHealth,
    StreamInfo,
    known_durability,
)
from sonde.store.failures import Translation
from sonde.store.following import follow
from sonde.store.handle import Handle
from sonde.store.location import Mode
from sonde.store.lookout import Lookout
from sonde.store.names import storable
from sonde.store.open_file import FileChangedError, FileState
from sonde.store.paging import paged
from sonde.store.pruning import Pruning
from sonde.store.reading import Page, Reading
from sonde.store.retention import RETENTION_STREAM, PruneReport, Retention
from sonde.store.upkeep import Upkeep
from sonde.store.verification import Damage


class SQLiteStore:
    """An event store in an SQLite file: a path (``~`` is expanded), or ``":memory:"``.

    ``mode``: ``"create"`` reads and writes and makes what is missing, folders included; ``"rw"`` reads and writes what
    must exist; ``"ro"`` never writes. A file that the Go original wrote is opened for reading only, whatever the mode.
    ``busy_timeout_s`` bounds how long a call waits for other writers.

    Thread-safe; usable by many processes at once, and after ``fork`` in both. Calls block on I/O. An acknowledged
    append survives ``kill -9``; a power failure can take the last ones, unless ``durability`` is ``"power"``: then each
    append waits for the disk. Files are made with mode 0600, folders 0700.

    Raises:
        ConfigError: a path or mode that cannot work.
        StoreNotFoundError, StoreFormatError, StoreSchemaError, StorePermissionError, StoreUnavailableError: as named.

    >>> from sonde.events import Event
    >>> with SQLiteStore(":memory:") as store:
    ...     result = store.append("s-1", [Event("tool.started"), Event("tool.completed")])
    ...     [(event.version, event.type) for event in store.read("s-1")]
    [(1, 'tool.started'), (2, 'tool.completed')]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "create",
        busy_timeout_s: float = 5.0,
        durability: Durability | str = Durability.COMMIT,
    ) -> None:
        self._handle = Handle(path, mode, busy_timeout_s=busy_timeout_s, durability=known_durability(durability))
        self._upkeep = Upkeep()

    @property
    def url(self) -> str:
        """The absolute path, or ``":memory:"``."""
        return self._handle.attachment.location.url

    @property
    def read_only(self) -> bool:
        """Whether the store can only be read: opened so, or a file of the original."""
        return not self._handle.attachment.location.writable

    # --- writing -----------------------------------------------------------------------------------------------------

    def append_batch(self, records: Sequence[Record]) -> AppendResult:
        """Write records, in order and in one transaction; streams may mix; known identities are skipped and counted.

        Raises:
            StoreUnavailableError: locked past ``busy_timeout_s``, disk full, I/O error; nothing was written, try again.
        """
        return self._write(lambda _: records, None)

    def append(self, stream_id: str, events: Iterable[Event], *, expected_version: int | None = None) -> AppendResult:
        """Write events to one stream, atomically, under the handle's own writer.

        ``expected_version`` is the version that the stream must have now: 0, it must not exist; ``None``, any.

        Raises:
            WrongExpectedVersionError: the stream is at another version; nothing was written.
        """
        given = list(events)

        def numbered(attachment: Attachment) -> list[Record]:
            first = attachment.numbered(len(given))
            return [Record(stream_id, attachment.writer_id, seq, event) for seq, event in enumerate(given, first)]

        return self._write(numbered, expected_version)

    def truncate(self, stream_id: str, before_version: int) -> int:
        """Remove the events of a stream below a version, in short transactions; says how many. Space is given back."""
        return Pruning(self._handle.attached).truncate(stream_id, before_version)

    def prune(
        self,
        retention: Retention,
        *,
        sessions: Iterable[str] = (),
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
        is_thorough: bool = True,
        is_noted: bool = True,
    ) -> PruneReport:
        """Remove what ``retention`` lets go, and ``sessions`` (names of streams), the oldest first; say what went.

        In transactions of some milliseconds, with pauses, while others record; one process prunes at a time. ``stop``
        ends it between two of them. Space is given back, names that nobody uses go: not all of either unless
        ``is_thorough``. A ``sonde.retention`` event says what went, unless ``is_noted`` is false: then
        :meth:`note_prune` is for the caller to call.

        Raises:
            StoreUnavailableError: locked past ``busy_timeout_s``, disk full; what went by then is gone.
            StoreCorruptError: the file is damaged; the message says what went by then. Sessions that go as a whole are
                looked at first, and for a size about as many events as it takes.
        """
        pruning = Pruning(self._handle.attached, stop=stop, progress=progress)
        try:
            report = pruning.run(retention, sessions=tuple(sessions), now_ns=time.time_ns(), is_thorough=is_thorough)
        except StoreCorruptError:
            if is_noted:
                with suppress(StoreError):
                    self.note_prune(PruneReport(pruning.removals, is_complete=False))
            raise
        if is_noted:
            self.note_prune(report)
        return report

    def preview_prune(
        self,
        retention: Retention,
        *,
        sessions: Iterable[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> PruneReport:
        """What :meth:`prune` would do now. Changes nothing."""
        pruning = Pruning(self._handle.attached, progress=progress)
        return pruning.preview(retention, sessions=tuple(sessions), now_ns=time.time_ns())

    def note_prune(self, report: PruneReport) -> None:
        """Put on record what was removed, in the stream ``sonde.retention``, which keeps its newest 1,000 events."""
        if report.events:
            head = self.append(RETENTION_STREAM, [note_event(report, now_ns=time.time_ns())]).last_version
            if head > KEPT_NOTES and head % (KEPT_NOTES // 10) == 0:
                self.truncate(RETENTION_STREAM, head - KEPT_NOTES + 1)

    def forget_names(self, *, stop: threading.Event | None = None) -> bool:
        """Remove names, writers and emptied streams that nothing refers to any more; whether it came to the end.

        Looks at all events, without a lock. The newest emptied streams (1,000) and writers without events (10,000
        ranges of numbers) stay: versions go on, and what they wrote is not taken in a second time.
        """
        return Pruning(self._handle.attached, stop=stop).forget()

    def removed(self) -> tuple[int, int]:
        """How many events retention has removed since the file was made, and how many sessions as a whole."""
        attachment = self._handle.attached()
        if attachment.is_original:
            return 0, 0
        with attachment.reading() as connection:
            return removal.removed(connection)

    def _write(
        self, records_for: Callable[[Attachment], Sequence[Record]], expected_version: int | None
    ) -> AppendResult:
        attachment = self._handle.attached(look=False)  # which is done under the lock
        while True:
            try:
                return self._append(attachment, records_for(attachment), expected_version)
            except FileChangedError:  # nothing was written; the next attempt goes to what is there now, or says why not
                if attachment.is_current():
                    raise
            attachment = self._handle.attached()

    def _append(self, attachment: Attachment, records: Sequence[Record], expected_version: int | None) -> AppendResult:
        writer = attachment.writer
        if not records:
            return AppendResult(0, 0, Position.START, writer.durability, 0)
        committed = False
        with attachment.writing("append to") as connection:
            try:
                with transaction(connection):
                    result = writer.append(connection, records, expected_version)
                committed = True
            finally:
                writer.settle(committed=committed)
        attachment.bell.ring()
        return result

    def tend(self, *, is_ending: bool = False) -> bool:
        """Do some of the upkeep that is due, for some 10 ms; whether there may be more. For moments without writes.

        Older events are put together and compressed, and so is large data: they take a fourth of the space, and read as
        before. ``is_ending``: smaller amounts are due too. A persister calls it.
        """
        return self._upkeep.step(self._handle.attached(), is_ending=is_ending)

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, stream_id: str, from_version: int = 0, *, limit: int | None = None) -> Iterator[RecordedEvent]:
        """The events of a stream from ``from_version`` (inclusive), lazily, in order of version.

        Raises:
            StoreCorruptError: an event cannot be read, or isn't found, though nothing removed it.
        """

        def page(attachment: Attachment, connection: apsw.Connection, start: int, rows: int) -> Page:
            return attachment.reader.stream_page(connection, stream_id, start, event_type=None, rows=rows)

        return paged(self._handle, page, from_version, limit)

    def read_by_type(self, stream_id: str, event_type: str) -> Iterator[RecordedEvent]:
        """The events of one type in a stream, lazily, in order of version.

        Raises:
            StoreCorruptError: an event cannot be read, or isn't found, be it of the type or not.
        """
        wanted = str(event_type)

        def page(attachment: Attachment, connection: apsw.Connection, start: int, rows: int) -> Page:
            return attachment.reader.stream_page(connection, stream_id, start, event_type=wanted, rows=rows)

        return paged(self._handle, page, 0, None)

    def read_all(
        self, after: Position | None = None, *, types: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[RecordedEvent]:
        """The events of all streams after a position (``None``: from the beginning), lazily, in order of commit.

        What is appended meanwhile is read too, if it comes before the end is reached.

        Raises:
            StoreCorruptError: an event cannot be read, or isn't found, be it of ``types`` or not.
        """
        wanted = _listed(types)
        begin = 0 if after is None else after.value
        continuity: Continuity | None = None

        def page(attachment: Attachment, connection: apsw.Connection, start: int, rows: int) -> Page:
            nonlocal continuity
            reader = attachment.reader
            events, going = reader.all_page(connection, start, types=wanted, rows=rows)
            if isinstance(reader, Reading):
                if continuity is None or start == begin:
                    continuity = Continuity(self.url, after=begin)
                if wanted is None:
                    continuity.check(connection, reader, start, events, is_end=going is None)
                else:
                    until = reader.last_position(connection) if going is None else going
                    continuity.check_filtered(connection, reader, start, until, is_end=going is None)
            return events, going

        return paged(self._handle, page, begin, limit)

    def follow(
        self,
        after: Position | None = None,
        *,
        types: Iterable[str] | None = None,
        stream_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[RecordedEvent]:
        """Events as they are committed, by any process.

        ``None``: from now on; ``Position.START``: everything, then live. Each exactly once: at once from this handle,
        some 50 ms later from other processes. Ends when the store closes, or once nothing has come for ``timeout_s``.
        If the file is deleted or replaced, it waits for the one that takes its place and goes on with that one's first
        event; what was copied there comes again, with the identity that it had.

        Raises:
            StoreCorruptError: as :meth:`read_all`.
        """
        attachment = self._handle.attached()
        start = 0 if after is None else after.value
        if after is None:
            with attachment.reading() as connection:
                start = attachment.reader.last_position(connection)
        look = Lookout(self._handle, start, types=_listed(types), stream_id=stream_id).look
        return follow(look, start, bell=lambda: self._handle.attachment.bell, timeout_s=timeout_s)

    def streams(self) -> list[StreamInfo]:
        """All streams, in the order in which they were made."""
        attachment = self._handle.attached()
        with attachment.reading() as connection:
            return attachment.reader.streams(connection)

    def head(self, stream_id: str) -> int:
        """The version of a stream's last event; 0 if there is no such stream."""
        attachment = self._handle.attached()
        with attachment.reading() as connection:
            return attachment.reader.head(connection, stream_id)

    # --- writers and their processes ---------------------------------------------------------------------------------

    def register_writer(self, writer_id: str) -> None:
        """Declare that this process records as ``writer_id``, until ``release_writer`` or its death. Idempotent."""
        self._handle.register(writer_id)

    def release_writer(self, writer_id: str) -> None:
        """Declare that the writer has ended in good order. Idempotent."""
        self._handle.release(writer_id)

    def remove_stale_locks(self) -> int:
        """Remove the lock files that killed processes left beside the store; how many. Safe while others record.

        The store remembers that their writers are dead, also where nothing but the lock told.
        """
        return self._handle.clear_up()

    def liveness(self, writer_id: str) -> Liveness:
        """Whether the process that records as ``writer_id`` is alive."""
        attachment = self._handle.attached()
        if attachment.is_original:
            return Liveness.UNKNOWN
        with attachment.reading() as connection:
            held = None if attachment.lock_files is None else attachment.lock_files.is_held(writer_id)
            return liveness.judge(connection, writer_id, held=held)

    def seen(self, writer_id: str) -> list[tuple[int, int]]:
        """The numbers of a writer's events that were ever stored, as closed ranges; also of those that are removed."""
        attachment = self._handle.attached()
        if attachment.is_original:
            return []
        with attachment.reading() as connection:
            return identities.ranges(connection, storable(writer_id))

    # --- the whole ---------------------------------------------------------------------------------------------------

    def health(self) -> StoreHealth:
        """Figures about the store. Cheap; :meth:`verify` reads everything."""
        attachment = self._handle.attached()
        ok, detail, events, version = True, "", 0, 0
        try:
            with attachment.reading() as connection:
                events = attachment.reader.count(connection)
                version = schema.file_kind(connection)[1]
        except StoreClosedError:
            raise
        except StoreError as error:
            ok, detail = False, str(error)
        if ok and attachment.is_original:
            detail = "a file of the Go original, opened for reading only"
        engine = f"SQLite {apsw.sqlite_lib_version()}"
        return StoreHealth(self.url, ok, detail, version, events, _size(self.url), _size(f"{self.url}-wal"), engine)

    def verify(self, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Damage]:
        """Read everything and yield what is wrong: SQLite's structures, holes in versions, events that were altered.

        ``progress`` is called with events read and events in all. A file of the original has no checksums: nothing.
        """
        attachment = self._handle.attached()
        if not isinstance(attachment.reader, Reading):
            return iter(())
        return verification.verify(attachment.reading, attachment.location.url, progress)

    def backup(
        self,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
        is_plain: bool = False,
    ) -> None:
        """Copy the store, as it is now, into a file of its own, while others record.

        ``is_plain``: with each event as a row that has all of its data, for tools that speak SQL; it is many times
        larger. ``progress`` is called with pages, or then events, done and in all.

        Raises:
            StoreError: the target exists and ``overwrite`` isn't given.
        """
        path = os.path.abspath(os.path.expanduser(target))
        with Translation("back up", self.url), self._handle.attached().connections.reading() as connection:
            copying.copy(connection, path, overwrite=overwrite, progress=progress, is_plain=is_plain)

    def close(self) -> None:
        """Close. Idempotent; iterators in flight end, and the handle's writers count as ended in good order."""
        self._handle.close()

    def file_state(self, *, look: bool = True) -> FileState:
        """Which file the handle uses: looks at the path, and steps over to the file that is there by now.

        ``look=False``: which it used last.

        Raises:
            StoreError: what is there cannot be used, or nothing may be made there.
        """
        return self._handle.file_state(look=look)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listed(types: Iterable[str] | None) -> list[str] | None:
    if types is None:
        return None
    return [str(types)] if isinstance(types, str) else [str(kind) for kind in types]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
