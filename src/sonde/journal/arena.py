"""Arena: a memory-mapped file that holds records until they are committed.

What is written there survives the process the moment the write is done: it is the kernel's. Its blocks are
allocated beforehand, since touching a mapped page that finds no room on the disk ends the process with SIGBUS.
"""

from __future__ import annotations

import mmap
import os

_ZEROS = bytes(64 * 1024)


class Arena:
    """One file, mapped. Whoever has it in hand is the only one who writes: see :class:`~sonde.journal.arenas.Arenas`.

    Attributes:
        map: its memory.
        size: of it, in bytes.
        at: where the next record goes.
        is_withdrawn: taken away from a thread that seemed to have lost it. Who finds this set after writing writes
            again, elsewhere.
    """

    __slots__ = ("at", "is_withdrawn", "looked_at", "looked_s", "map", "path", "size")

    def __init__(self, path: str, size: int) -> None:
        """Make the file.

        Raises:
            OSError: no room, no permission, no folder, or too many open files.
        """
        self.path = path
        self.size = size
        self.at = 0
        self.is_withdrawn = False
        self.looked_at = -1
        self.looked_s = 0.0
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
            self.map = mmap.mmap(handle, size)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(handle)

    def write(self, record: bytes) -> bool:
        """Add a record if it fits. Says whether it does."""
        at = self.at
        end = at + len(record)
        if end > self.size:
            return False
        self.map[at:end] = record
        self.at = end
        return True

    def reset(self) -> None:
        """Wipe what was written, and begin anew. In pieces: other threads may have the interpreter in between."""
        for start in range(0, self.at, len(_ZEROS)):
            end = min(self.at, start + len(_ZEROS))
            self.map[start:end] = _ZEROS if end - start == len(_ZEROS) else _ZEROS[: end - start]
        self.at = 0

    def remove(self) -> None:
        """Remove the file. Who still writes gets a ``ValueError``. Idempotent."""
        try:
            os.unlink(self.path)
        except OSError:  # the folder may be gone
            pass
        self.map.close()

    def forget(self) -> None:
        """Unmap it and leave the file as it is: in a forked child, or where the events are not committed."""
        self.map.close()
