"""Mark: how many events a writer may have published, in mapped memory, beside a file that its process holds locked.

The kernel lets go of the lock when the process dies, however it dies, and what was stored in mapped memory stays. So
whoever finds a mark and can lock it knows that the writer is dead, and what it may have taken along. Where there is a
file system in memory (Linux) the words lie there (:mod:`sonde.journal.words`), and the mark has a copy; arenas lie
there, too. Without it, or where that is asked for, the words are mapped from the mark itself, and arenas lie beside it.
"""

from __future__ import annotations

import mmap
import os
import socket
from _thread import allocate_lock
from io import FileIO
from typing import NamedTuple

import msgspec

from sonde.journal.file import new_file, remove_file
from sonde.journal.place import Home, Place, has_memory, place_of
from sonde.journal.words import WORDS_BYTES, is_there, new_words, read_words, store_word

try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

SUFFIX = ".mark"
NEW = ".new"
"""Behind the name of a mark that is being made."""
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
    are_words_apart: bool
    """In memory, as arenas are: what stands in the mark is a copy."""
    host: str
    pid: int
    boot: str
    """Of the machine: what another one finds need not be what the writer left."""
    device: int
    """Of the file system, as its host has it."""
    redaction: str = "default"
    """Whose rules take secrets out of its events: a :class:`~sonde.redaction.Policy`."""


class Words(NamedTuple):
    """The words of a dead writer's mark."""

    claimed: int
    waiting: int
    accounted: int
    time_ns: int
    unjournaled: int
    ended: int
    files: int
    is_last: bool
    """As the writer left them, and not a copy of some moment before."""


class Mark:
    """The mark of a writer of this process. ``words`` may be stored into by any thread: one store of 8 bytes."""

    def __init__(
        self,
        folder: str,
        writer_id: str,
        *,
        session_id: str,
        durability: str,
        redaction: str = "default",
        has_arenas: bool,
        in_memory: bool = True,
        instead_of: Mark | None = None,
    ) -> None:
        """Make and lock the file; the folder, too.

        ``in_memory``: words and arenas, if that is possible. ``instead_of``: an earlier one of this writer, what it
        says is said.

        Raises:
            OSError: it cannot be made.
        """
        self._folder = folder
        self._writer_id = writer_id
        self._is_in_memory = in_memory
        self.path = os.path.join(folder, writer_id + SUFFIX)
        self._place: Place | None = None
        self._file: FileIO | None = None
        self._maker = os.geteuid()
        self._copying = allocate_lock()
        self._copied = b""
        first = memoryview(bytearray(WORDS_BYTES)).cast("Q")
        first[WAITING] = 1
        self._map: mmap.mmap = self._make(
            Header(
                writer_id,
                session_id[:1000],
                durability,
                has_arenas,
                are_words_apart=False,
                host=socket.gethostname(),
                pid=os.getpid(),
                boot=boot_id(),
                device=0,
                redaction=redaction,
            ),
            first.tobytes() if instead_of is None else instead_of._map[:WORDS_BYTES],
        )
        self.words = memoryview(self._map)[:WORDS_BYTES].cast("Q")

    def _make(self, header: Header, words: bytes) -> mmap.mmap:
        """Under another name at first: nobody is to find it before it is locked, and take the writer for dead."""
        new = self.path + NEW
        for attempt in range(_ATTEMPTS):
            files: list[FileIO] = []
            try:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                remove_file(new)  # of a try that an interrupt ended
                files.extend(map(new_file, (new,)))  # as an arena does it
                handle = files[0].fileno()
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                place = self._place = place_of(handle, header.writer_id)
                apart = new_words(place, self.path, words) if self._is_in_memory else None
                content = _content(
                    msgspec.structs.replace(header, are_words_apart=apart is not None, device=place.device), words
                )
                os.write(handle, content)  # real bytes: every page has its block
                if apart is None:
                    self._place = None
                    apart = mmap.mmap(handle, len(content))  # which has the file open, too, and so the lock
                else:
                    self._file = files.pop()
                os.rename(new, self.path)
            except FileNotFoundError:  # somebody removed the folder, which was empty
                self._discard(new)
                if attempt + 1 == _ATTEMPTS:
                    raise
            except BaseException:
                self._discard(new)
                raise
            else:
                return apart
            finally:
                for file in files:
                    file.close()
        raise AssertionError

    def _discard(self, new: str) -> None:
        remove_file(new)
        self._close()
        self.withdraw()
        self._place = None

    @property
    def home(self) -> Home:
        """Where its writer's arenas lie, if it has some."""
        return Home(self._folder, self._writer_id) if self._place is None else self._place.home

    @property
    def is_beside_against_will(self) -> bool:
        """Whether all lies beside the store although it was meant for memory, which this system has."""
        return self._is_in_memory and self._place is None and has_memory()

    @property
    def is_makers(self) -> bool:
        """Whether who recovers believes the files that this process makes for it now: in memory, its maker's alone."""
        return self._place is None or os.geteuid() == self._maker

    def copy(self) -> None:
        """Put the words into the mark, if they are not there anyway. Blocks for as long as the disk does.

        For the background. The copy is for the case that the memory goes with its machine, or its container.

        Raises:
            OSError: the disk refuses.
        """
        with self._copying:
            try:
                words = self._map[8:WORDS_BYTES]
                if self._file is not None and words != self._copied:
                    os.pwrite(self._file.fileno(), words, 8)
                    self._copied = words
            except ValueError:  # closed just now
                pass
        if self._map.closed:  # by forget(), meanwhile
            self._close_unless_copying()

    def is_there(self) -> bool:
        """Whether its files are where they were made, as far as can be told."""
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError:  # no right to look there any more, say
            return True
        return self._place is None or is_there(self._place)

    def take_over(self, other: Mark) -> None:
        """Say at least what the other mark of this writer says."""
        for word in range(1, WORDS):
            self.words[word] = max(self.words[word], other.words[word])

    def end(self) -> None:
        """The writer has closed in order, and could not write everything."""
        try:
            self.words[ENDED] = 1
        except ValueError:  # let go of, by a closing that an interrupt ended
            return

    def remove(self) -> None:
        """The writer has ended, and all that it published is accounted for. The folder goes with the last file."""
        remove_file(self.path)
        self.withdraw()
        self.forget()
        remove_folder(self._folder)

    def withdraw(self) -> None:
        """Remove the words: of a mark that somebody removed, or that is removed."""
        if self._place is not None:
            remove_file(self._place.path)

    def forget(self) -> None:
        """Let go of the files and leave them, for the next writer to take in. Does not wait for the disk."""
        self.words.release()
        self._map.close()
        self._close_unless_copying()

    def forget_in_child(self) -> None:
        """The same in a forked child, where the other thread does not exist."""
        self.words.release()
        self._map.close()
        self._close()

    def _close_unless_copying(self) -> None:
        if self._copying.acquire(blocking=False):  # else the disk has the other thread, which does it then
            self._close()
            self._copying.release()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _content(header: Header, words: bytes) -> bytes:
    content = (_MAGIC + words[len(_MAGIC) :]).ljust(_HEADER_AT, b"\0") + msgspec.json.encode(header)
    return content.ljust(-(-len(content) // _PAGE_BYTES) * _PAGE_BYTES, b"\0")


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
    try:
        header = msgspec.json.decode(content[_HEADER_AT:].rstrip(b"\0"), type=Header)
    except msgspec.DecodeError:
        return None
    is_last = header.boot == boot_id()
    if is_last and header.are_words_apart:
        found = read_words(place_of(handle, header.writer_id))
        is_last = found is not None
        content = found or content
    _, claimed, waiting, accounted, time_ns, unjournaled, ended, files = memoryview(content[:WORDS_BYTES]).cast("Q")
    return header, Words(claimed, waiting, accounted, time_ns, unjournaled, ended, files, is_last)


def no_files(handle: int, writer_id: str) -> None:
    """Put down in an open mark that its arenas are about to be removed."""
    os.pwrite(handle, bytes(8), 8 * FILES)
    store_word(place_of(handle, writer_id), FILES, 0)
