"""OpenFile: whether a path still names the file that is open, and the log beside it the log that is open.

SQLite goes on writing to a file that was removed or replaced, and nobody will ever read that. So each use looks first:
one ``stat`` of the file and one of its log. What neither tells is that somebody has written over the file in place
(``cp backup.db runs.db``). In WAL mode it changes by checkpoints alone, and those of sonde happen under the file lock:
who holds it notes size and time there at the end, and what the next one finds otherwise was changed by somebody else.
"""

from __future__ import annotations

import os
import weakref
from enum import StrEnum
from itertools import count
from struct import Struct
from typing import NamedTuple, Protocol, runtime_checkable

from sonde.errors import StoreUnavailableError

Identity = tuple[int, int]
"""Device and inode."""

_STAMP = Struct("<QQQq")
_next_moment = count(1).__next__


class Change(StrEnum):
    """What has happened to the file that is open. The values are reasons of ``sonde.gap``."""

    DELETED = "file_deleted"
    """Nothing is at its path."""
    REPLACED = "file_replaced"
    """Another file is at its path: this one was moved away, or deleted and made anew."""
    OVERWRITTEN = "file_overwritten"
    """Its content was replaced or cut off in place."""
    LOG_DELETED = "log_deleted"
    """Its write-ahead log was removed."""


class FileState(NamedTuple):
    """Which file a handle writes to: the first, the second, …; and why it left the last one."""

    number: int
    change: Change | None


@runtime_checkable
class Replaceable(Protocol):
    """A store in a file that may be taken away."""

    def file_state(self, *, look: bool = True) -> FileState:
        """Look at the path, and step over to the file that is there by now."""
        ...

    def seen(self, writer_id: str) -> list[tuple[int, int]]:
        """The numbers of a writer's events that the file has or had, as closed ranges."""
        ...


class FileChangedError(StoreUnavailableError):
    """The path names another file, or the file another content. The same call goes to what is there now."""


class OpenFile:
    """The file at a path, from the moment at which this is made. Any thread may ask; some 3 µs.

    ``is_watched``: false for what has no path, or where nothing can be told.
    """

    def __init__(self, path: str, *, is_watched: bool) -> None:
        self.path = path
        self._is_watched = is_watched
        # Keeps the inode, whose number would be given to another file while no connection is open, as around a fork.
        # Closing such a handle does not drop SQLite's locks, as closing any other handle on the file does.
        self._pin = _pinned(path) if is_watched else -1
        # No __del__: where the file was released as it should be, nothing is left to run, and so to swallow a Ctrl-C.
        self._closing = weakref.finalize(self, os.close, self._pin) if self._pin >= 0 else None
        if self._closing is not None:
            self._closing.atexit = False
        self._file = identity(path)
        self._log: Identity | None = None
        self._index: Identity | None = None
        self._had_content = False
        self.found: Change | None = None
        """What was found, for good."""
        self._opened_at = _next_moment()
        self._left_at = 0

    def opened(self) -> None:
        """A connection is open and has read, so the log is there and stays as long as it is."""
        if self._is_watched and self._log is None:
            self._log = identity(f"{self.path}-wal")
            self._index = identity(f"{self.path}-shm")

    def closed(self) -> None:
        """No connection is open: the next one may find another log."""
        self._log = self._index = None

    def change(self, noted: bytes = b"") -> Change | None:
        """What has happened, if anything. ``noted``: the stamp that the file lock's last holder left."""
        if self.found is None and self._is_watched and (found := self._look(noted)) is not None:
            self.leave(found)
        return self.found

    def leave(self, change: Change) -> None:
        """It is found; a second finding changes nothing."""
        if self.found is None:
            self._left_at = _next_moment()
            self.found = change

    def shares(self, other: OpenFile) -> bool:
        """Whether ``other`` had the same file open when this was left: what was opened since is sound."""
        return other.path == self.path and other._file == self._file and other._opened_at < self._left_at

    def _look(self, noted: bytes) -> Change | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return Change.DELETED
        if (found.st_dev, found.st_ino) != self._file:
            return Change.REPLACED
        if found.st_size:
            self._had_content = True
        elif self._had_content:
            return Change.OVERWRITTEN
        if noted and noted != _stamp_of(found):
            return Change.OVERWRITTEN
        log = self._log
        # Looked at again at the end: another thread may have closed the last connection meanwhile, and opened one.
        is_log_there = log is None or identity(f"{self.path}-wal") == log or self._log is not log
        return None if is_log_there else Change.LOG_DELETED

    def stamp(self) -> bytes:
        """Size and time of the file, for the next holder of the file lock; empty if there is none."""
        try:
            return _stamp_of(os.stat(self.path))
        except OSError:
            return b""

    def is_same(self) -> bool:
        """Whether the path names the same file, whatever is in it."""
        return identity(self.path) == self._file

    def is_moved(self) -> bool:
        """Whether the file is elsewhere now, and nobody has opened it there without our log.

        Known on Linux only; elsewhere what is in the log then doesn't get into the file.
        """
        if self._closing is None or not self._closing.alive:
            return False
        try:
            path = os.readlink(f"/proc/self/fd/{self._pin}")
        except OSError:  # no /proc
            return False
        log = identity(f"{path}-wal")
        return identity(path) == self._file and (log is None or log == self._log)

    def release(self) -> None:
        """Nothing of it is open any more. Idempotent."""
        if self._closing is not None:
            self._closing()

    def is_log_free(self) -> bool:
        """Whether nobody has begun another log where ours was."""
        try:
            return os.stat(f"{self.path}-wal").st_size == 0
        except OSError:
            return True

    def remove_log(self) -> None:
        """Remove what is left of our log, which SQLite would apply to the file that is at the path now.

        Only under the file lock, and while we have it open or know that nobody has removed it since.
        """
        for suffix, ours in (("-wal", self._log), ("-shm", self._index)):
            if ours is not None and identity(self.path + suffix) == ours:
                os.unlink(self.path + suffix)

    def remove_index(self) -> None:
        """Remove the index of a log that is gone."""
        if self._index is not None and identity(f"{self.path}-shm") == self._index:
            os.unlink(f"{self.path}-shm")


STAMP_BYTES = _STAMP.size


def identity(path: str) -> Identity | None:
    """Device and inode of what is at a path; ``None`` if nothing is."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _pinned(path: str) -> int:
    if not hasattr(os, "O_PATH"):  # no Linux
        return -1
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1


def _stamp_of(found: os.stat_result) -> bytes:
    return _STAMP.pack(found.st_dev & 0xFFFF_FFFF_FFFF_FFFF, found.st_ino, found.st_size, found.st_mtime_ns)
