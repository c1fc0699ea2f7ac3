"""File lock: keeps the writers of several processes apart, and passes a note from one holder to the next."""

from __future__ import annotations

import os
import time

from sonde.store.open_file import STAMP_BYTES

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock has to do
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

_POLL_S = 0.001


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

    def noted(self) -> bytes:
        """What the last holder left for the next one. Only for who holds it."""
        try:
            return os.pread(self._fd, STAMP_BYTES, 0) if self._fd >= 0 else b""
        except OSError:
            return b""

    def note(self, stamp: bytes) -> None:
        """Leave it for the next one."""
        if self._fd >= 0 and stamp:
            try:
                os.pwrite(self._fd, stamp, 0)
            except OSError:  # no room: then nobody is told, and what the next one finds it takes for damage that isn't
                os.ftruncate(self._fd, 0)

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
