"""Place: where what a writer leaves for the next process lies, beside the store or in a file system that is memory.

A mapped page of a file on a disk is written there now and then, and the next store into it waits for the disk: with the
interpreter's lock, so that the whole program waits for a disk that hangs. So what publishers and the hub's thread store
into is in memory, which outlives its process and which no disk can hold up. It goes with its machine, or with the
container that it belongs to: who minds that has all of it beside the store.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import NamedTuple

from sonde.journal.file import open_carefully, remove_file

FOLDER = "/dev/shm"  # noqa: S108  # files are made anew there, and read only if their owner made them
ARENA = ".arena"
WORDS = ".words"
PATH_AT = 128
"""Where in the words' file the path of their mark stands, to the end of the page."""
PAGE_BYTES = 4096
MAGIC = b"sondewd1"
_PREFIX = "sonde-"
_ORPHAN_AFTER_S = 24 * 3600


class Home(NamedTuple):
    """Where a writer's arenas lie."""

    folder: str
    stem: str
    """With which their names begin."""


class Place(NamedTuple):
    """Where in memory: told by the file of the mark itself, so that a copy of it finds nothing there."""

    device: int
    inode: int
    owner: int
    writer_id: str

    @property
    def home(self) -> Home:
        """For the arenas."""
        return Home(FOLDER, f"{_PREFIX}{self.device:x}-{self.inode:x}-{self.writer_id}")

    @property
    def path(self) -> str:
        """The file of the words."""
        return os.path.join(*self.home) + WORDS

    @property
    def owners(self) -> tuple[int, int]:
        """Whose files are believed: on some file systems the mark belongs to somebody else than who made it."""
        return (self.owner, os.geteuid())

    def is_ours(self, path: str) -> bool:
        """Whether a file there is one that the writer made: anybody may make files in that folder."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_uid in self.owners


def has_memory() -> bool:
    """Whether this system has such a file system."""
    return os.path.isdir(FOLDER)


def place_of(handle: int, writer_id: str) -> Place:
    """What lies in memory for an open mark lies there."""
    found = os.fstat(handle)
    return Place(found.st_dev, found.st_ino, found.st_uid, writer_id)


def sweep_memory(store_path: str) -> None:
    """Remove what this user's writers left there, of which nothing was heard for a day, and whose mark is gone.

    Somebody removed the store. Not earlier: a mark that cannot be seen from here may be another container's, or on a
    disk that comes back. Looks at marks on the file system of this store alone: who opens it waits for that disk
    anyway, but not for another one that hangs. Some 5 µs for each writer on this machine; never raises.
    """
    try:
        names = {name for name in os.listdir(FOLDER) if name.startswith(_PREFIX)}
        # On some file systems, overlays, a folder is on another device than the files in it.
        around = [os.stat(path) for path in (store_path, os.path.dirname(store_path))]
    except OSError:  # no such system; or the store was removed just now
        return
    here = tuple(f"{_PREFIX}{found.st_dev:x}-" for found in around)
    for name in names:
        path = os.path.join(FOLDER, name)
        with suppress(OSError):
            if name.endswith(WORDS):
                if name.startswith(here) and _is_old(path) and _is_orphan(path):
                    remove_file(path)
            elif name.endswith(ARENA) and name.rsplit(".", 4)[0] + WORDS not in names and _is_old(path):
                remove_file(path)  # the words are the last to go


def _is_old(path: str) -> bool:
    found = os.lstat(path)
    is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
    return is_ours and time.time() - found.st_mtime > _ORPHAN_AFTER_S


def _is_orphan(path: str) -> bool:
    content = read_page(path, owners=(os.geteuid(),))
    if content is None:
        return False
    mark_path = os.fsdecode(content[PATH_AT:].rstrip(b"\0"))
    try:
        found = os.stat(mark_path)
    except FileNotFoundError:
        return True
    except OSError:  # no right to look, say
        return False
    return os.path.basename(path).split("-")[1:3] != [f"{found.st_dev:x}", f"{found.st_ino:x}"]


def read_page(path: str, *, owners: tuple[int, ...]) -> bytes | None:
    """The content of a file of words, if one of these users made it."""
    try:
        handle = open_carefully(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        content = os.pread(handle, PAGE_BYTES, 0) if os.fstat(handle).st_uid in owners else b""
    except OSError:
        return None
    finally:
        os.close(handle)
    return content if content.startswith(MAGIC) and len(content) == PAGE_BYTES else None
