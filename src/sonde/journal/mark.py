"""Mark: how many events a writer may have published, in a memory-mapped file that its process holds locked.

The kernel lets go of the lock when the process dies, however it dies, and what was stored in mapped memory stays. So
whoever finds a mark and can lock it knows that the writer is dead, and what it may have taken along.
"""

from __future__ import annotations

import mmap
import os
import socket
from io import FileIO
from typing import NamedTuple

import msgspec

from sonde.journal.file import new_file, remove_file

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
FILES = 7
"""With arenas: how many files of them there are."""
WORDS = 8


class Header(msgspec.Struct, frozen=True):
    """Whose mark it is."""

    writer_id: str
    session_id: str
    durability: str
    has_arenas: bool
    host: str
    pid: int
    boot: str
    """Of the machine: what another one finds need not be what the writer left."""


class Words(NamedTuple):
    """The words of a dead writer's mark."""

    claimed: int
    waiting: int
    accounted: int
    time_ns: int
    unjournaled: int
    ended: int
    files: int


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
            Header(writer_id, session_id[:1000], durability, has_arenas, socket.gethostname(), os.getpid(), boot_id())
        )
        content = _MAGIC.ljust(_HEADER_AT, b"\0") + content
        content = content.ljust(-(-len(content) // _PAGE_BYTES) * _PAGE_BYTES, b"\0")
        self._map = self._make(content)
        self.words = memoryview(self._map).cast("Q")
        self.words[WAITING] = 1

    def _make(self, content: bytes) -> mmap.mmap:
        """Under another name at first: nobody is to find it before it is locked, and take the writer for dead."""
        new = self.path + _NEW
        for attempt in range(_ATTEMPTS):
            files: list[FileIO] = []
            try:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                remove_file(new)  # of a try that an interrupt ended
                files.extend(map(new_file, (new,)))  # as an arena does it
                handle = files[0].fileno()
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(handle, content)  # real bytes: every page has its block
                mapped = mmap.mmap(handle, len(content))
                os.rename(new, self.path)
            except FileNotFoundError:  # somebody removed the folder, which was empty
                if attempt + 1 == _ATTEMPTS:
                    raise
            except BaseException:
                remove_file(new)
                raise
            else:
                return mapped  # which has the file open, too: so the lock is held until it is closed
            finally:
                for file in files:
                    file.close()
        raise AssertionError

    def is_there(self) -> bool:
        """Whether the file is where it was made, as far as can be told."""
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError:  # no right to look there any more, say
            return True
        return True

    def take_over(self, other: Mark) -> None:
        """Say at least what the other mark of this writer says."""
        for word in range(1, WORDS):
            self.words[word] = max(self.words[word], other.words[word])

    def remove(self) -> None:
        """The writer has ended, and all that it published is accounted for. The folder goes with the last file."""
        remove_file(self.path)
        self.forget()
        remove_folder(self._folder)

    def forget(self) -> None:
        """Let go of the file and leave it: in a forked child, or for the next writer to take in."""
        self.words.release()
        self._map.close()


def remove_folder(folder: str) -> None:
    """Remove the folder of marks and arenas if it is empty."""
    try:
        os.rmdir(folder)
    except OSError:  # not empty, or gone
        pass


def boot_id() -> str:
    """What tells one boot of this machine from another; empty where the system has no such thing."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


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
    return header, Words(*words[1:WORDS])


def no_files(handle: int) -> None:
    """Put down in an open mark that its arenas are about to be removed."""
    os.pwrite(handle, bytes(8), 8 * FILES)
