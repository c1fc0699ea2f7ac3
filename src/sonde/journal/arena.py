"""Arena: a memory-mapped file that holds records until they are committed, in segments.

What is written there survives the process the moment the write is done: it is the kernel's. Its blocks are allocated
beforehand, since touching a mapped page that finds no room, on the disk or in memory, ends the process with SIGBUS.
"""

from __future__ import annotations

import mmap
import os
from io import FileIO
from typing import NamedTuple

from sonde.journal.file import new_file, remove_file
from sonde.journal.place import ARENA, Home
from sonde.journal.record import WIPING

_ZEROS = bytes(64 * 1024)


class Shape(NamedTuple):
    """Bytes of an arena's segments, and of all of it. They are in its name, since a file may be cut off."""

    segment_bytes: int
    size_bytes: int


class Segment:
    """A piece of an arena, without holes. Whoever has it in hand is the only one who writes there.

    Attributes:
        map: the memory of the arena.
        at: where the next record goes; from ``begin`` to ``end``.
        is_withdrawn: taken away from a thread that seemed to have lost it. Who finds this set after writing writes
            again, elsewhere.
    """

    __slots__ = ("arena", "at", "begin", "end", "is_withdrawn", "looked_at", "looked_s", "map")

    def __init__(self, arena: Arena, begin: int, end: int) -> None:
        """Nothing is written yet."""
        self.arena = arena
        self.map = arena.map
        self.begin = self.at = begin
        self.end = end
        self.is_withdrawn = False
        self.looked_at = -1
        self.looked_s = 0.0

    def write(self, record: bytes) -> bool:
        """Add a record if it fits. Says whether it does."""
        at = self.at
        end = at + len(record)
        if end > self.end:
            return False
        self.map[at:end] = record
        self.at = end
        return True

    def reset(self) -> None:
        """Wipe what was written, and begin anew. In pieces: other threads may have the interpreter in between.

        A mark stands in front until the rest is wiped, since a kill in the middle would look like damage.
        """
        if self.at > self.begin:
            body = self.begin + len(WIPING)
            self.map[self.begin : body] = WIPING
            for start in range(body, self.at, len(_ZEROS)):
                end = min(self.at, start + len(_ZEROS))
                self.map[start:end] = _ZEROS if end - start == len(_ZEROS) else _ZEROS[: end - start]
            self.map[self.begin : body] = _ZEROS[: len(WIPING)]
        self.at = self.begin


class Arena:
    """One file, mapped.

    Attributes:
        segments: its pieces.
        live: those that are still in use.
        is_retiring: what comes back is used no more; without a live segment the file goes.
        is_gone: somebody removed the file. Nothing there survives the process.
        is_idle: nothing came back for a while.
    """

    __slots__ = ("is_gone", "is_idle", "is_retiring", "live", "map", "path", "segments", "size")

    def __init__(self, path: str, shape: Shape) -> None:
        """Make the file.

        Raises:
            OSError: no room, no permission, no folder, or too many open files.
        """
        self.path = path
        self.size = shape.size_bytes
        self.is_gone = self.is_idle = self.is_retiring = False
        files: list[FileIO] = []
        try:
            files.extend(map(new_file, (path,)))  # made and kept in one step
            handle = files[0].fileno()
            os.posix_fallocate(handle, 0, shape.size_bytes)
            self.map = mmap.mmap(handle, shape.size_bytes)
        except FileExistsError:  # not ours to remove
            raise
        except BaseException:
            remove_file(path)
            raise
        finally:
            for file in files:
                file.close()
        step = shape.segment_bytes
        self.segments = [Segment(self, at, min(at + step, self.size)) for at in range(0, self.size, step)]
        self.live = set(self.segments)

    def remove(self) -> None:
        """Remove the file. Who still writes gets a ``ValueError``. Idempotent."""
        remove_file(self.path)
        self.map.close()

    def forget(self) -> None:
        """Unmap it and leave the file as it is: in a forked child, or where the events are not committed."""
        self.map.close()


def arena_path(home: Home, number: int, shape: Shape) -> str:
    """The path of an arena's file.

    >>> arena_path(Home("/journal", "w"), 7, Shape(32768, 262144))
    '/journal/w.7.32768.262144.arena'
    """
    return os.path.join(home.folder, f"{home.stem}.{number}.{shape.segment_bytes}.{shape.size_bytes}{ARENA}")


def moved_path(path: str, home: Home) -> str:
    """The path of the same arena elsewhere.

    >>> moved_path("/journal/w.7.32768.262144.arena", Home("/memory", "sonde-1-2-w"))
    '/memory/sonde-1-2-w.7.32768.262144.arena'
    """
    return os.path.join(home.folder, ".".join([home.stem, *path.rsplit(".", 4)[1:]]))


def shape_of(path: str) -> Shape | None:
    """What a file of that name must be; ``None`` if it is named like no arena.

    >>> shape_of("/journal/w.7.32768.262144.arena")
    Shape(segment_bytes=32768, size_bytes=262144)
    """
    try:
        _, _, segment_bytes, size_bytes, _ = os.path.basename(path).rsplit(".", 4)
        return Shape(max(1, int(segment_bytes)), int(size_bytes))
    except ValueError:
        return None


def arenas_of(home: Home) -> list[str]:
    """The paths of a writer's arenas; none if the folder cannot be read, or was removed just now."""
    try:
        return arenas_in(home)
    except OSError:
        return []


def arenas_in(home: Home) -> list[str]:
    """The same.

    Raises:
        OSError: the folder cannot be read.
    """
    names = os.listdir(home.folder)
    start = f"{home.stem}."
    return [os.path.join(home.folder, name) for name in names if name.startswith(start) and name.endswith(ARENA)]
