"""A platter: what is durable after some entries of a disk's log, and what chance can make of the rest."""

from __future__ import annotations

import os
import random
from typing import NamedTuple

SECTOR_BYTES = 512


class Write(NamedTuple):
    """Bytes on their way into a file, which has a number: names come and go."""

    file: int
    offset: int
    data: bytes


class Resize(NamedTuple):
    """A file was cut off, or made longer."""

    file: int
    size: int


class Sync(NamedTuple):
    """A sync of a file has returned: what was in the log before ``began`` is durable."""

    file: int
    began: int


class Name(NamedTuple):
    """A path names a file from now on; ``None``: none any more."""

    path: str
    file: int | None


class SyncFolder(NamedTuple):
    """A sync of a folder has returned: its names are durable as they were when it began."""

    folder: str
    began: int


Entry = Write | Resize | Sync | Name | SyncFolder
FOLDER = -1
"""The number that stands for a folder."""


class Mood(NamedTuple):
    """What one cut is like: how likely sectors and names get through, and are torn; whether in any order at all."""

    passing: float
    naming: float
    tearing: float = 0.0
    anyhow: bool = False

    @classmethod
    def of(cls, rng: random.Random) -> Mood:
        passing = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0, rng.random()])
        return cls(passing, rng.choice([0.0, 0.5, 1.0]), rng.choice([0.0, 0.02, 0.3]), rng.random() < 0.5)


class Platter:
    """What is durable after some entries of a log, and what is on its way."""

    def __init__(self, given: dict[str, bytes | None], log: list[Entry]) -> None:
        paths = [path for path, content in given.items() if content is not None]
        self.content = {number: bytearray(given[path]) for number, path in enumerate(paths)}
        self.waiting: dict[int, list[tuple[int, Write | Resize]]] = {}
        numbers = {path: number for number, path in enumerate(paths)}
        self.names: dict[str, int | None] = {path: numbers.get(path, FOLDER) for path in given}
        self.renamed: dict[str, list[tuple[int, int | None]]] = {}
        for at, entry in enumerate(log):
            match entry:
                case Write(file) | Resize(file):
                    self.waiting.setdefault(file, []).append((at, entry))
                case Sync(file, began):
                    self._sync(file, began)
                case Name(path, number):
                    self.renamed.setdefault(path, []).append((at, number))
                case SyncFolder(folder, began):
                    self._sync_folder(folder, began)

    def _sync(self, file: int, began: int) -> None:
        waiting = self.waiting.pop(file, [])
        content = self.content.setdefault(file, bytearray())
        for at, entry in waiting:
            if at >= began:
                self.waiting.setdefault(file, []).append((at, entry))
            elif isinstance(entry, Write):
                _put(content, entry.offset, entry.data)
            else:
                _resize(content, entry.size)

    def _sync_folder(self, folder: str, began: int) -> None:
        for path in [path for path in self.renamed if os.path.dirname(path) == folder]:
            steps = self.renamed.pop(path)
            for at, number in steps:
                if at < began:
                    self.names[path] = number
                else:
                    self.renamed.setdefault(path, []).append((at, number))

    def found(self, rng: random.Random, mood: Mood) -> dict[str, bytes | None]:
        """One of the states that the files can be found in."""
        names = dict(self.names)
        for path, steps in self.renamed.items():
            passed = sum(1 for _ in steps if rng.random() < mood.naming)
            if passed:
                names[path] = steps[passed - 1][1]
        found: dict[str, bytes | None] = {}
        for path, number in sorted(names.items()):  # a folder comes before what is in it
            folder = os.path.dirname(path)
            if number is not None and (not folder or folder in found):
                found[path] = None if number == FOLDER else self._content(number, rng, mood)
        return found

    def _content(self, file: int, rng: random.Random, mood: Mood) -> bytes:
        durable = self.content.get(file, bytearray())
        sizes = [len(durable)]
        sectors: dict[int, list[tuple[int, bytes]]] = {}
        for _, entry in self.waiting.get(file, ()):
            if isinstance(entry, Write):
                _split(sectors, entry.offset, entry.data)
                sizes.append(max(sizes[-1], entry.offset + len(entry.data)))
            else:
                if entry.size < sizes[-1]:
                    _split(sectors, entry.size, bytes(sizes[-1] - entry.size))
                sizes.append(entry.size)
        content = bytearray(max(sizes))
        content[: len(durable)] = durable
        if mood.tearing and rng.random() < 0.5:
            content[len(durable) :] = rng.randbytes(len(content) - len(durable))
        for parts in sectors.values():
            _pass_some(content, parts, rng, mood)
        size = sizes[-1] if rng.random() < mood.passing else rng.choice(sizes)
        return bytes(content[:size])


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    content.extend(bytes(max(0, size - len(content))))
    del content[size:]


def _split(sectors: dict[int, list[tuple[int, bytes]]], offset: int, data: bytes) -> None:
    """Add a write to those of the sectors that it touches."""
    start = 0
    while start < len(data):
        sector = (offset + start) // SECTOR_BYTES
        end = min(len(data), (sector + 1) * SECTOR_BYTES - offset)
        sectors.setdefault(sector, []).append((offset + start, data[start:end]))
        start = end


def _pass_some(content: bytearray, parts: list[tuple[int, bytes]], rng: random.Random, mood: Mood) -> None:
    """Let some of the writes to one sector through."""
    if mood.anyhow:
        passed = [part for part in parts if rng.random() < mood.passing]
        rng.shuffle(passed)
    else:
        whole = rng.random() < mood.passing
        passed = parts if whole and rng.random() < 0.5 else parts[: rng.randint(0, len(parts))] if whole else []
    for offset, data in passed:
        content[offset : offset + len(data)] = data
    if rng.random() < mood.tearing:
        offset, data = rng.choice(parts)
        new = rng.randint(0, len(data))
        content[offset : offset + new] = data[:new]
        if rng.random() < 0.5:
            content[offset + new : offset + len(data)] = rng.randbytes(len(data) - new)
