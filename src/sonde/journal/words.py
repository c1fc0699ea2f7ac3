"""Words: a writer's numbers, in memory that outlives its process and that no disk can hold up.

They change with each batch of events. Their mark on the disk has a copy that is a moment old: for what ends the
machine, or the container with its memory.
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from io import FileIO

from sonde.journal.file import new_file, open_carefully, remove_file
from sonde.journal.place import MAGIC, PAGE_BYTES, PATH_AT, Place, has_memory, read_page

WORDS_BYTES = 64
"""Eight numbers of 64 bits, the first of which tells what file it is."""


def new_words(place: Place, mark_path: str, words: bytes) -> mmap.mmap | None:
    """Make them; ``None`` where there is no such memory, or none is left. ``words``: what they say, 64 bytes."""
    path_bytes = os.fsencode(os.path.abspath(mark_path))
    if not has_memory() or len(path_bytes) > PAGE_BYTES - PATH_AT:
        return None
    files: list[FileIO] = []
    try:
        files.extend(map(new_file, (place.path,)))  # made and kept in one step
        content = (MAGIC + words[len(MAGIC) :]).ljust(PATH_AT, b"\0") + path_bytes
        os.write(files[0].fileno(), content.ljust(PAGE_BYTES, b"\0"))  # real bytes: the page is there
        return mmap.mmap(files[0].fileno(), PAGE_BYTES)
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
    found = read_page(place.path, owners=place.owners)
    return found[:WORDS_BYTES] if found is not None else None


def store_word(place: Place, index: int, value: int) -> None:
    """Change one of a dead writer."""
    with suppress(OSError):
        handle = open_carefully(place.path, os.O_WRONLY)
        try:
            if os.fstat(handle).st_uid in place.owners:
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
