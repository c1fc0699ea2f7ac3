"""Mark: how many events a writer may have published, in a memory-mapped file that its process holds locked.

The kernel lets go of the lock when the process dies, however it dies, and what was stored in mapped memory stays. So
whoever finds a mark and can lock it knows that the writer is dead, and what it may have taken along.
"""

from __future__ import annotations

import mmap
import os
import socket
from typing import NamedTuple

import msgspec

try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

SUFFIX = ".mark"
_NEW = ".new"
_MAGIC = b"sondemk1"
_PAGE_BYTES = 4096
_HEADER_AT = 128
_ATTEMPTS = 20

# The words, as indices into 64-bit numbers; 0 is the magic.
CLAIMED = 1
"""Events that the hub's thread has taken, or is about to."""
WAITING = 2
"""The length of the inbox at which a publisher raises this word: so one less may wait unseen."""
ACCOUNTED = 3
"""Events that never come and are counted by a gap in the store."""
TIME_NS = 4
"""When the hub's thread last looked."""
UNJOURNALED = 5
"""With arenas: events that none could take."""
ENDED = 6
"""1: closed in order, and could not write everything."""


class Header(msgspec.Struct, frozen=True):
    """Whose mark it is."""

    writer_id: str
    session_id: str
    durability: str
    has_arenas: bool
    host: str
    pid: int


class Words(NamedTuple):
    """The words of a dead writer's mark."""

    claimed: int
    waiting: int
    accounted: int
    time_ns: int
    unjournaled: int
    ended: int


class Mark:
    """The mark of a writer of this process. ``words`` may be stored into by any thread: one store of 8 bytes."""

    def __init__(self, folder: str, writer_id: str, *, session_id: str, durability: str, has_arenas: bool) -> None:
        """Make and lock the file; the folder, too.

        Raises:
            OSError: it cannot be made.
        """
        self._folder = folder
        self.path = os.path.join(folder, writer_id + SUFFIX)
        content = msgspec.json.encode(
            Header(writer_id, session_id[:1000], durability, has_arenas, socket.gethostname(), os.getpid())
        )
        content = _MAGIC.ljust(_HEADER_AT, b"\0") + content
        content = content.ljust(-(-len(content) // _PAGE_BYTES) * _PAGE_BYTES, b"\0")
        self._handle = self._make(content)
        try:
            self._map = mmap.mmap(self._handle, len(content))
        except BaseException:
            os.unlink(self.path)
            os.close(self._handle)
            raise
        self.words = memoryview(self._map).cast("Q")
        self.words[WAITING] = 1

    def _make(self, content: bytes) -> int:
        """Under another name at first: nobody is to find it before it is locked, and take the writer for dead."""
        new = self.path + _NEW
        for attempt in range(_ATTEMPTS):
            try:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.write(handle, content)  # real bytes: every page has its block
                    os.rename(new, self.path)
                except BaseException:
                    os.close(handle)
                    raise
                return handle
            except FileNotFoundError:  # somebody removed the folder, which was empty
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError

    def remove(self) -> None:
        """The writer has ended, and all that it published is accounted for. The folder goes with the last file."""
        try:
            os.unlink(self.path)
        except OSError:  # the folder may be gone
            pass
        self.forget()
        remove_folder(self._folder)

    def forget(self) -> None:
        """Let go of the file and leave it: in a forked child, or for the next writer to take in."""
        self.words.release()
        self._map.close()
        os.close(self._handle)


def remove_folder(folder: str) -> None:
    """Remove the folder of marks and arenas if it is empty."""
    try:
        os.rmdir(folder)
    except OSError:  # not empty, or gone
        pass


def read_mark(handle: int) -> tuple[Header, Words] | None:
    """What an open mark says; ``None`` if it is none."""
    content = os.pread(handle, 16 * _PAGE_BYTES, 0)
    if not content.startswith(_MAGIC) or len(content) < _PAGE_BYTES:
        return None
    words = memoryview(content[:64]).cast("Q")
    try:
        header = msgspec.json.decode(content[_HEADER_AT:].rstrip(b"\0"), type=Header)
    except msgspec.DecodeError:
        return None
    return header, Words(*words[1:7])
