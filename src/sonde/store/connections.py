"""Connections: one that writes, some that read, each used by one thread at a time and by one process ever.

Lock order: write lock, file lock, SQLite's own. The file lock (``flock`` on a file beside the store) is not what keeps
writers apart, ``BEGIN IMMEDIATE`` is; it makes them queue in turn instead of backing off for ever longer, which cuts the
worst wait of four writers from 1.4 s to 0.2 s. It is asked for without blocking, again and again: a blocking ``flock``
has no time limit.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from sonde.errors import StoreClosedError, StoreUnavailableError
from sonde.store import schema

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock has to do
    fcntl = None  # type: ignore[assignment]

_POLL_S = 0.001
_MAX_IDLE = 4


def abandon(connection: apsw.Connection) -> None:
    """Never close a connection: one that a fork inherited, or whose file was removed.

    Closing it could remove the write-ahead log that others work with, and the interpreter closes what it collects, at
    its end too. So it keeps a reference that nobody holds.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit when the block ends well, roll back when it doesn't. Immediate: a deferred one may fail half-way, locked."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class FileLock:
    """A lock between processes, held for moments. Not thread-safe: used under the write lock."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def acquire(self, deadline_s: float) -> bool:
        """Take it, waiting until ``deadline_s`` of the monotonic clock; where the file can't be made, do without."""
        while True:
            if self._fd < 0:
                try:
                    self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                except OSError:
                    return True
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    return False
                time.sleep(_POLL_S)
                continue
            except OSError:  # a file system without flock
                return True
            # Another process may have removed the file, closing the store: a lock on it would be ours alone.
            if os.fstat(self._fd).st_nlink:
                return True
            self.forget()

    def release(self) -> None:
        """Let the next one in."""
        if self._fd >= 0:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            except OSError:  # a file system without flock
                return

    def remove(self) -> None:
        """Remove the file unless somebody holds the lock, and close it."""
        if self._fd >= 0:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(self._fd).st_nlink:
                    os.unlink(self._path)
            except OSError:  # held by another process, which removes it in its turn
                pass
            self.forget()

    def forget(self) -> None:
        """Close the handle; what another process holds stays held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Connections:
    """The connections of one process to one store."""

    def __init__(self, target: str, *, flags: int, writable: bool, busy_timeout_s: float) -> None:
        self.target = target
        self.pid = os.getpid()
        self.in_memory = target == ":memory:"
        self.closed = False
        self._flags = flags
        self._writable = writable
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[apsw.Connection] = []
        self._all: set[apsw.Connection] = set()
        self._writer: apsw.Connection | None = None
        self._file_lock = FileLock(f"{target}-lock") if writable and not self.in_memory and fcntl else None
        if self.in_memory:
            self._writer = self.open()

    def open(self) -> apsw.Connection:
        """A new connection, configured; the caller hands it back to nobody."""
        connection = apsw.Connection(self.target, flags=self._flags)
        try:
            connection.set_busy_timeout(max(1, int(self._busy_timeout_s * 1000)))
            schema.configure(connection, read_only=not self._writable)
        except BaseException:
            connection.close()
            raise
        with self._pool_lock:
            self._all.add(connection)
        return connection

    @contextmanager
    def exclusive(self) -> Iterator[apsw.Connection]:
        """The writing connection, for this thread alone, with the write lock and the file lock held."""
        deadline_s = time.monotonic() + self._busy_timeout_s
        if not self._write_lock.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
            raise self._busy()
        try:
            connection = self._writer
            if connection is None:
                self._check_open()
                connection = self._writer = self.open()
            if self._file_lock is None:
                yield connection
                return
            if not self._file_lock.acquire(deadline_s):
                raise self._busy()
            try:
                yield connection
            finally:
                self._file_lock.release()
        finally:
            self._write_lock.release()

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection to read with, for this thread alone. It may wait for a writer only in memory."""
        if self.in_memory:
            with self._write_lock:
                self._check_open()
                assert self._writer is not None
                yield self._writer
            return
        self._check_open()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.open()
        try:
            yield connection
        finally:
            if self.closed or len(self._idle) >= _MAX_IDLE:
                self._discard(connection)
            else:
                self._idle.append(connection)
                if self.closed:  # closed just now: nobody else will empty the pool
                    self._empty_pool()

    def close(self) -> None:
        """Close what is idle; a read in flight closes its own connection when it ends."""
        self.closed = True
        with self._write_lock:
            self._empty_pool()
            if self._writer is not None:
                self._discard(self._writer)
                self._writer = None
            if self._file_lock is not None:
                self._file_lock.remove()

    def abandon(self) -> None:
        """After a fork, in the child: touch nothing, close nothing but the lock's own handle."""
        self.closed = True
        for connection in self._all:
            abandon(connection)
        if self._file_lock is not None:
            self._file_lock.forget()

    def _empty_pool(self) -> None:
        while self._idle:
            try:
                self._discard(self._idle.pop())
            except IndexError:  # another thread took the last
                return

    def _discard(self, connection: apsw.Connection) -> None:
        with self._pool_lock:
            self._all.discard(connection)
        connection.close()

    def _check_open(self) -> None:
        if self.closed:
            raise StoreClosedError(f"cannot use event store '{self.target}': it was closed; open it again")

    def _busy(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot write to event store '{self.target}': still locked after {self._busy_timeout_s:g} s; "
            "try again, or raise busy_timeout_s"
        )
