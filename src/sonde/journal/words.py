"""Words: a writer's numbers, in memory that outlives its process and that no disk can hold up.

A mapped page of a file on a disk is written there now and then, and the next store into it waits for the disk: with the
interpreter's lock, so that the whole program waits for a disk that hangs. The numbers change with each batch of events.
So they lie in a file system that is memory, and their mark on the disk has a copy that is a moment old: for what ends
the machine, or the container with its memory.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys
import time
from contextlib import suppress
from io import FileIO
from typing import NamedTuple

from sonde.journal.file import new_file, remove_file

FOLDER = "/dev/shm"  # noqa: S108  # files are made anew there, and read only if their owner made them
_PREFIX = "sonde-"
_SUFFIX = ".words"
_MAGIC = b"sondewd1"
_PATH_AT = 128
_PAGE_BYTES = 4096
_ORPHAN_AFTER_S = 24 * 3600
# Anybody may make files in that folder, a pipe, say, of that name: no opening waits, none follows a link.
_CAREFULLY = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

WORDS_BYTES = 64
"""Eight numbers of 64 bits, the first of which tells what file it is."""


class Place(NamedTuple):
    """Where the words of a mark lie: told by the file of the mark itself, so that a copy of it finds none."""

    device: int
    inode: int
    owner: int
    writer_id: str

    @property
    def path(self) -> str:
        """The file."""
        return os.path.join(FOLDER, f"{_PREFIX}{self.device:x}-{self.inode:x}-{self.writer_id}{_SUFFIX}")


def place_of(handle: int, writer_id: str) -> Place:
    """Where the words of an open mark lie, if they are there."""
    found = os.fstat(handle)
    return Place(found.st_dev, found.st_ino, found.st_uid, writer_id)


def new_words(place: Place, mark_path: str, words: bytes) -> mmap.mmap | None:
    """Make them; ``None`` where there is no such memory, or none is left. ``words``: what they say, 64 bytes."""
    path_bytes = os.fsencode(os.path.abspath(mark_path))
    if not os.path.isdir(FOLDER) or len(path_bytes) > _PAGE_BYTES - _PATH_AT:
        return None
    files: list[FileIO] = []
    try:
        files.extend(map(new_file, (place.path,)))  # made and kept in one step
        content = (_MAGIC + words[len(_MAGIC) :]).ljust(_PATH_AT, b"\0") + path_bytes
        os.write(files[0].fileno(), content.ljust(_PAGE_BYTES, b"\0"))  # real bytes: the page is there
        return mmap.mmap(files[0].fileno(), _PAGE_BYTES)
    except OSError as error:
        remove_file(place.path)
        if error.errno is None:  # the TimeoutError, say, of somebody's signal handler
            raise
        return None
    except BaseException:
        remove_file(place.path)
        raise
    finally:
        for file in files:
            file.close()


def read_words(place: Place) -> bytes | None:
    """What stands there, as the writer left it; ``None`` if it is gone or not ours to read."""
    # On some file systems the mark belongs to somebody else than who made it.
    found = _read(place.path, owners=(place.owner, os.geteuid()))
    return found[:WORDS_BYTES] if found is not None else None


def store_word(place: Place, index: int, value: int) -> None:
    """Change one of a dead writer."""
    with suppress(OSError):
        handle = os.open(place.path, os.O_WRONLY | _CAREFULLY)
        try:
            if os.fstat(handle).st_uid in (place.owner, os.geteuid()):
                os.pwrite(handle, value.to_bytes(8, sys.byteorder), 8 * index)
        finally:
            os.close(handle)


def is_there(place: Place) -> bool:
    """Whether the writer's words are where they were made; and that it lives is noted, for who sweeps."""
    try:
        os.utime(place.path)
    except FileNotFoundError:
        return False
    except OSError:  # no right to do that any more, say
        return True
    return True


def sweep_words() -> None:
    """Remove words of this user of which nothing was heard for a day, and whose mark is gone: its store was removed.

    Not earlier: a mark that cannot be seen from here may be another container's, or on a disk that comes back. Some
    5 µs for each writer on this machine; never raises.
    """
    try:
        names = [name for name in os.listdir(FOLDER) if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
    except OSError:  # no such system
        return
    for name in names:
        path = os.path.join(FOLDER, name)
        with suppress(OSError):
            found = os.lstat(path)
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if is_ours and time.time() - found.st_mtime > _ORPHAN_AFTER_S and _is_orphan(path):
                remove_file(path)


def _is_orphan(path: str) -> bool:
    content = _read(path, owners=(os.geteuid(),))
    if content is None:
        return False
    mark_path = os.fsdecode(content[_PATH_AT:].rstrip(b"\0"))
    try:
        found = os.stat(mark_path)
    except FileNotFoundError:
        return True
    except OSError:  # no right to look, say
        return False
    return os.path.basename(path).split("-")[1:3] != [f"{found.st_dev:x}", f"{found.st_ino:x}"]


def _read(path: str, *, owners: tuple[int, ...]) -> bytes | None:
    """The content of a file, if one of these users made it."""
    try:
        handle = os.open(path, os.O_RDONLY | _CAREFULLY)
    except OSError:
        return None
    try:
        content = os.pread(handle, _PAGE_BYTES, 0) if os.fstat(handle).st_uid in owners else b""
    except OSError:
        return None
    finally:
        os.close(handle)
    return content if content.startswith(_MAGIC) and len(content) == _PAGE_BYTES else None
