"""Remains: what a writer left that did not end in order, for whoever opens the store next."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from sonde.events import PublishedEvent
from sonde.journal.arena import Shape, arenas_of, shape_of
from sonde.journal.file import remove_file
from sonde.journal.mark import HAS_FLOCK, NEW, Header, Words, boot_id, no_files, read_mark, remove_folder
from sonde.journal.mark import SUFFIX as MARK
from sonde.journal.place import Home, place_of
from sonde.journal.record import read_records, unpack_event

if HAS_FLOCK:
    import fcntl

_RETRY_S = 0.002
_UNFINISHED_AFTER_S = 60.0
_ABANDONED_AFTER_S = 24 * 3600.0


def folder_of(url: str) -> str:
    """Where the journals of a store lie: a folder beside it."""
    return f"{url}-journal.d"


class Left(NamedTuple):
    """A dead writer, for those who only look."""

    header: Header
    words: Words
    seqs: frozenset[int]
    """Of the events in its arenas; some or all of them may be in the store already."""
    is_damaged: bool

    def missing(self, stored: int) -> int:
        """As :meth:`Remains.missing`."""
        return _missing(self.header, self.words, stored, is_damaged=self.is_damaged)


class Remains:
    """What one dead writer left, locked: nobody else takes it in meanwhile.

    Attributes:
        header: whose it was.
        words: how far it had come.
        torn: records that were cut off while they were written, so their ``emit`` had not returned; and, after a power
            cut or on a damaged disk, those that cannot be read.
        is_damaged: events whose ``emit`` had returned may be missing, since a file is, or since what it holds was
            changed or cut off.
    """

    def __init__(self, folder: str, handle: int, header: Header, words: Words) -> None:
        """Made by :func:`left_behind`."""
        self._folder = folder
        self._handle = handle
        _HANDLES.add(handle)
        self.header = header
        self.words = words
        self.torn = 0
        self.is_damaged = False

    def events(self) -> list[PublishedEvent]:
        """The events in its arenas, by number, each once. Not sanitised, not redacted."""
        events: dict[int, PublishedEvent] = {}
        paths = self._arenas()
        whole = 0
        for path in paths:
            found = read_arena(path, self.header.writer_id)
            self.torn += found.torn
            whole += found.is_whole
            self.is_damaged |= found.is_damaged
            events.update((event.seq, event) for event in found.events)
        self.is_damaged |= whole < self.words.files  # one that was being made is short, and not on the mark yet
        return [events[seq] for seq in sorted(events)]

    def missing(self, stored: int) -> int:
        """How many more events it published at most, of which ``stored`` are in the store by now.

        Exact up to the threads that were publishing at that moment, and the interrupts that there were. Ask after
        :meth:`events`, which finds damage.
        """
        return _missing(self.header, self.words, stored, is_damaged=self.is_damaged)

    def has_event(self, is_wanted: Callable[[int], bool]) -> bool:
        """Whether an event with such a number is in its arenas; reads no more of them than it takes."""
        for path in self._arenas():
            if any(is_wanted(event.seq) for event in read_arena(path, self.header.writer_id).events):
                return True
        return False

    def published(self) -> int:
        """How many events it may have published that come: in the store, in its arenas, or nowhere."""
        return max(0, self.words.claimed + max(0, self.words.waiting - 1) - self.words.accounted)

    def remove(self) -> None:
        """All that can be known is in the store: remove the files, the mark last."""
        no_files(self._handle, self.header.writer_id)  # a kill in the middle is no damage
        for path in self._arenas():
            os.unlink(path)
        words = place_of(self._handle, self.header.writer_id).path
        os.unlink(os.path.join(self._folder, self.header.writer_id + MARK))
        remove_file(words)
        remove_folder(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it."""
        if self._handle in _HANDLES:
            _HANDLES.discard(self._handle)
            os.close(self._handle)

    def _arenas(self) -> list[str]:
        return _arenas(self._folder, self._handle, self.header)


def left_behind(folder: str) -> Iterator[Remains]:
    """What dead writers of this host left, one after the other, each locked until the next is asked for.

    Those of living writers, and those that another process takes in just now, are passed over.
    """
    for name in _named(folder, MARK):
        opened = _open(folder, name, exclusive=True)
        if opened is not None:
            with Remains(folder, *opened) as remains:
                yield remains


def remove_unfinished(folder: str) -> None:
    """Remove marks whose writer was killed while it made them: it had not published anything under them.

    Not those of the last minute: between the making of a file and its lock its writer looks like a dead one.
    """
    for name in _named(folder, MARK + NEW):
        path = os.path.join(folder, name)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # gone, or not ours
            continue
        try:
            if time.time() - os.fstat(handle).st_mtime > _UNFINISHED_AFTER_S and _lock(handle, exclusive=True):
                remove_file(place_of(handle, name.removesuffix(MARK + NEW)).path)
                remove_file(path)
                remove_folder(folder)
        finally:
            os.close(handle)


def look(folder: str) -> list[Left]:
    """The same for those who only look. Changes nothing."""
    found = []
    for name in _named(folder, MARK):
        opened = _open(folder, name, exclusive=False)
        if opened is None:
            continue
        handle, header, words = opened
        try:
            seqs: set[int] = set()
            paths = _arenas(folder, handle, header)
            is_damaged, whole = False, 0
            for path in paths:
                try:
                    arena = read_arena(path, header.writer_id)
                except OSError:  # taken in just now, or not ours to read
                    whole += 1
                    continue
                is_damaged |= arena.is_damaged
                whole += arena.is_whole
                seqs.update(event.seq for event in arena.events)
            found.append(Left(header, words, frozenset(seqs), is_damaged or whole < words.files))
        finally:
            os.close(handle)
    return found


def _arenas(folder: str, handle: int, header: Header) -> list[str]:
    """The files of a dead writer's arenas, beside its mark or in memory."""
    if not header.are_words_apart:
        return arenas_of(Home(folder, header.writer_id))
    place = place_of(handle, header.writer_id)
    return [path for path in arenas_of(place.home) if place.is_ours(path)]


class _Found(NamedTuple):
    events: list[PublishedEvent]
    torn: int
    is_damaged: bool
    is_whole: bool  # as long as it was made


def read_arena(path: str, writer_id: str) -> _Found:
    """The events of an arena, and how many of its records cannot be read."""
    with open(path, "rb") as file:
        content = file.read()
    shape = shape_of(path) or Shape(max(1, len(content)), len(content))
    events = []
    torn = damaged = 0
    for start in range(0, len(content), shape.segment_bytes):
        contents = read_records(content[start : start + shape.segment_bytes])
        torn += contents.torn
        damaged += contents.damaged
        for record in contents.records:
            try:
                events.append(unpack_event(record, writer_id))
            except (msgspec.DecodeError, UnicodeError, RecursionError):  # whole, and of no known release
                damaged += 1
    return _Found(events, torn + damaged, bool(damaged), len(content) >= shape.size_bytes)


def _missing(header: Header, words: Words, stored: int, *, is_damaged: bool) -> int:
    missing = max(0, words.claimed + max(0, words.waiting - 1) - words.accounted - stored)
    # With arenas an event is in one of them, in the store, or noted as one that none could take. But the kernel wrote
    # them to the disk when it liked: after a power cut they may be of any time, and whole.
    is_complete = header.has_arenas and not is_damaged and words.is_last
    # What the hub had taken and is nowhere for all that, the store had, and lost: its log was damaged.
    lost = max(0, words.claimed - words.accounted - stored)
    return max(lost, min(missing, words.unjournaled)) if is_complete else missing


def _named(folder: str, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix))
    except OSError:  # there is none
        return []


def _open(folder: str, name: str, *, exclusive: bool) -> tuple[int, Header, Words] | None:
    """Open and lock a mark; ``None`` if its writer lives, if another process has it, or if it is for others to open."""
    if not HAS_FLOCK:
        return None
    try:
        handle = os.open(os.path.join(folder, name), (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_CLOEXEC)
    except OSError:  # taken in just now, or not ours
        return None
    try:
        if _lock(handle, exclusive=exclusive) and os.fstat(handle).st_nlink:
            found = read_mark(handle)
            if found is not None and _is_for_us(handle, *found) and found[0].writer_id + MARK == name:
                return handle, *found
    except OSError:  # the disk fails: another time, perhaps
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _is_for_us(handle: int, header: Header, words: Words) -> bool:
    """Whether it is known that the writer is dead, and nobody has more of it than is to be seen from here."""
    if header.host == socket.gethostname():
        return True
    # The locks of a network's file system may not reach from host to host. Another container's do, if one kernel keeps
    # those of the very same file system.
    found = os.fstat(handle)
    if not header.boot or header.boot != boot_id() or header.device != found.st_dev:
        return False
    # What lies in that container's memory is for its own next program, unless none comes.
    return words.is_last or time.time() - found.st_mtime > _ABANDONED_AFTER_S


def _lock(handle: int, *, exclusive: bool) -> bool:
    for attempt in range(2):
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            return True
        except BlockingIOError:  # alive; or somebody looks, which takes microseconds
            if exclusive and not attempt:
                time.sleep(_RETRY_S)
        except OSError:  # a file system without locks: nobody can tell
            return False
    return False


_HANDLES: set[int] = set()
"""Of remains that are being taken in: a child that a fork makes meanwhile must not hold their locks on."""


def _let_go_in_child() -> None:
    while _HANDLES:
        os.close(_HANDLES.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
