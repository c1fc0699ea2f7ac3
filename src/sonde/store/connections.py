"""Connections: one that writes, some that read, each used by one thread at a time and by one process ever.

Lock order: write lock, file lock, SQLite's own. The file lock (``flock`` on a file beside the store) is not what keeps
writers apart, ``BEGIN IMMEDIATE`` is; it makes them queue instead of backing off for ever longer, which cuts the worst
wait of four writers from 1.4 s to 0.2 s. It is asked for without blocking, again and again: a blocking ``flock``
has no time limit.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from _thread import LockType
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from sonde.errors import StoreClosedError, StoreUnavailableError
from sonde.store import schema
from sonde.store.file_lock import HAS_FLOCK, FileLock
from sonde.store.location import MEMORY, Location
from sonde.store.open_file import Change, FileChangedError, OpenFile

_LOOK_S = 0.001
_Loan = list[apsw.Connection]
"""What a thread reads with: one connection, or none as yet."""
_MAX_IDLE = 4
_SAID = {
    None: "it has changed",
    Change.DELETED: "it was deleted or moved away",
    Change.REPLACED: "another file is in its place",
    Change.OVERWRITTEN: "something was written over it",
    Change.LOG_DELETED: "its write-ahead log was deleted",
}


def abandon(connection: apsw.Connection) -> None:
    """Never close a connection that a fork inherited.

    Closing it could remove the write-ahead log that others work with, and the interpreter closes what it collects, at
    its end too. So it keeps a reference that nobody holds.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit when the block ends well, else roll back. Immediate: a deferred one may find itself locked half-way."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Let all reads of the block see one state: rows, and the contents that they name."""
    try:
        connection.execute("BEGIN")
        yield
    finally:
        with suppress(apsw.ConnectionClosedError):  # what Ctrl-C left behind ends after the store
            if connection.in_transaction:
                connection.execute("COMMIT")


def _taken(lock: LockType, held: list[bool], timeout_s: float) -> bool:
    """Acquire a lock, and note it in ``held``. One call into C does both: Ctrl-C finds all of it done, or nothing."""
    held.extend(filter(None, map(lock.acquire, (True,), (timeout_s,))))
    return bool(held)


class Connections:
    """The connections of one process to one store."""

    def __init__(self, location: Location, *, busy_timeout_s: float, synced: bool = False) -> None:
        self.pid = os.getpid()
        self.closed = False
        self._abandoned = False
        self._retired = False
        self._location = location
        self._in_memory = location.url == MEMORY
        self._busy_timeout_s = busy_timeout_s
        self._synced = synced
        self._write_lock = threading.Lock()
        # For what follows. No condition: Ctrl-C in the methods of one leaves its lock held for good, so who must wait
        # for others, which is rare, looks again and again.
        self._gate = threading.Lock()
        self._loans: dict[object, _Loan] = {}
        self._paused = False
        self._idle: list[apsw.Connection] = []
        self._all: set[apsw.Connection] = set()
        self._writer: apsw.Connection | None = None  # under the write lock
        self._held_by_pause: list[bool] = []
        # A copy that is ours alone, or a look without locks at a file that nobody writes, has no log and no neighbours.
        self.file = OpenFile(location.url, is_watched=not self._in_memory and location.private_folder is None)
        self._knows_stamp = False
        locks = location.writable and not self._in_memory and HAS_FLOCK
        self._file_lock = FileLock(f"{location.url}-lock") if locks else None
        if self._in_memory:
            self._writer = self._open()

    def _open(self, loan: _Loan | None = None) -> apsw.Connection:
        connection = apsw.Connection(self._location.target, flags=self._location.flags)
        try:
            connection.set_busy_timeout(max(1, int(self._busy_timeout_s * 1000)))
            schema.configure(connection, read_only=not self._location.writable, synced=self._synced)
        except BaseException:
            connection.close()
            raise
        self.file.opened()
        with self._gate:
            self._all.add(connection)
            if loan is not None:
                loan.append(connection)
        return connection

    @contextmanager
    def exclusive(self) -> Iterator[apsw.Connection]:
        """The writing connection, for this thread alone, with the write lock and the file lock held."""
        deadline_s = time.monotonic() + self._busy_timeout_s
        held: list[bool] = []
        try:
            if not _taken(self._write_lock, held, self._busy_timeout_s):
                raise self._busy()
            self._check_open()
            if self._file_lock is None:
                yield self._writing_connection()
                return
            try:
                if not self._file_lock.acquire(deadline_s):
                    raise self._busy()
                # Before each transaction: SQLite would write to a file that nobody can open any more.
                noted = self._file_lock.noted()
                if self.file.change(noted if self._knows_stamp else b"") is not None:
                    raise self._changed()
                connection = self._writing_connection()
                self._knows_stamp = True
                if connection.in_transaction:  # Ctrl-C came before its end, and held on to it for a while
                    connection.execute("ROLLBACK")
                # Another program may hold SQLite's own lock: what is left of the time is for that.
                connection.set_busy_timeout(max(1, int((deadline_s - time.monotonic()) * 1000)))
                try:
                    yield connection
                finally:
                    self.file.opened()  # where the log came into being just now
                    if (stamp := self.file.stamp()) != noted:
                        self._file_lock.note(stamp)
            finally:
                self._file_lock.release()
        finally:
            if held:
                self._write_lock.release()

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection to read with, for this thread alone. It may wait for a writer only in memory."""
        if self._in_memory:
            with self._write_lock:
                yield self._writing_connection()
            return
        name, loan = object(), _Loan()
        try:
            self._borrow(name, loan)
            yield loan[0] if loan else self._open(loan)
        finally:
            try:
                self._give_back(loan)
            finally:
                self._loans.pop(name, None)

    def _borrow(self, name: object, loan: _Loan) -> None:
        """Put a connection into ``loan``, or none, if a new one is to be opened."""
        while True:
            with self._gate:
                if not self._paused:
                    self._check_open()
                    self._loans[name] = loan
                    loan.extend(map(self._idle.pop, range(-1, -1 - bool(self._idle), -1)))  # one call, as above
                    return
            time.sleep(_LOOK_S)

    def _give_back(self, loan: _Loan) -> None:
        with self._gate:
            # What Ctrl-C cut off may have left a transaction open: whoever read in that would see what was there then.
            keep = not self.closed and len(self._idle) < _MAX_IDLE and not any(one.in_transaction for one in loan)
            if keep:
                self._idle += loan
                loan.clear()  # else a close() that comes now would leave it to us
        for connection in loan:
            self._discard(connection)

    def _wait_for_loans(self, deadline_s: float) -> bool:
        """Wait until no thread reads; whether that is so."""
        while self._loans and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
        return not self._loans

    def pause(self, deadline_s: float) -> None:
        """Let no thread in, wait for those inside, and close all, but not a store in memory, which would be lost."""
        if not _taken(self._write_lock, self._held_by_pause, max(0.0, deadline_s - time.monotonic())):
            return
        with self._gate:
            self._paused = True
        if self._wait_for_loans(deadline_s) and not self._in_memory:
            self._close_all()

    def resume(self) -> None:
        """The end of :meth:`pause`: connections are opened again when they are needed."""
        if self._held_by_pause:
            self._held_by_pause.clear()
            self._paused = False
            self._write_lock.release()

    def close(self) -> None:
        """Close what is idle; a read in flight closes its own connection when it ends.

        A write that does not end (a disk that answers no more) is left alone after ``busy_timeout_s``.
        """
        self.closed = True
        held: list[bool] = []
        try:
            if not _taken(self._write_lock, held, self._busy_timeout_s):
                self.abandon()
                return
            self._close_all()
            if self._file_lock is not None:
                self._file_lock.remove()
            self.file.release()
        finally:
            if held:
                self._write_lock.release()

    @property
    def has_file_lock(self) -> bool:
        """Whether writers of several processes keep apart by a file."""
        return self._file_lock is not None

    @property
    def writable(self) -> bool:
        """Whether this is more than reading."""
        return self._location.writable

    @property
    def is_retired(self) -> bool:
        """Whether all is closed for good, since the file is another by now."""
        return self._retired

    def save_log(self, deadline_s: float) -> None:
        """Bring what is in a log that was removed, and is open here still, into the file. Under the file lock.

        Raises:
            StoreUnavailableError: not all of it could be brought there by now; try again.
        """
        with self._write_lock:
            connection = self._writer
            if connection is None:
                return
            connection.set_busy_timeout(max(1, int((deadline_s - time.monotonic()) * 1000)))
            frames, saved = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
        if frames != saved:
            raise StoreUnavailableError(
                f"cannot save the log of event store '{self._location.url}', which was removed: {frames - saved} pages "
                "are still read; try again"
            )

    def retire(self, change: Change, deadline_s: float) -> bool:
        """Close all for good, without touching what is at the path; whether no thread is inside any more."""
        self.file.leave(change)
        held: list[bool] = []
        try:
            if not _taken(self._write_lock, held, max(0.0, deadline_s - time.monotonic())):
                return False
            self.closed = self._retired = True
            quiet = self._wait_for_loans(deadline_s)
            self._close_all()
            if self._file_lock is not None:
                self._file_lock.forget()
        finally:
            if held:
                self._write_lock.release()
        return quiet

    def abandon(self) -> None:
        """Leave all connections as they are for good: in the child of a fork."""
        self.closed = self._abandoned = True
        for connection in list(self._all):
            abandon(connection)
        if self._file_lock is not None:
            self._file_lock.forget()
        self.file.release()

    def _writing_connection(self) -> apsw.Connection:
        self._check_open()
        if self._writer is None:
            self._writer = self._open()
        return self._writer

    def _close_all(self) -> None:
        with self._gate:
            lent = {connection for loan in self._loans.values() for connection in loan}
            connections = self._all - lent  # also one that Ctrl-C took out of anybody's hands
            self._idle = []
        self._writer = None
        self._knows_stamp = False
        for connection in connections:
            self._discard(connection)

    def _discard(self, connection: apsw.Connection) -> None:
        is_gone = self._retired or self.file.change() is not None
        with self._gate:
            self._all.discard(connection)
            if not self._all and not is_gone:
                self.file.closed()  # before it closes, which removes the log: no thread may take that for a fault
        if not self._abandoned:
            if is_gone:  # the last one to close would remove the log at the path, which is another file's
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close()

    def _check_open(self) -> None:
        if self._retired:
            raise self._changed()
        if self.closed:
            raise StoreClosedError(f"cannot use event store '{self._location.url}': it was closed; open it again")

    def _changed(self) -> FileChangedError:
        return FileChangedError(
            f"cannot use the file that was event store '{self._location.url}': {_SAID[self.file.found]}; try again, "
            "and the file that is there now is used"
        )

    def _busy(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot write to event store '{self._location.url}': still locked after {self._busy_timeout_s:g} s; "
            "try again, or raise busy_timeout_s"
        )
