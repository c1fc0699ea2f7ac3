"""``sonde tail``: the last events, and the next ones as they are committed."""

from __future__ import annotations

import fnmatch
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Never

import click

from sonde.cli.documents import EventDocument, fields_text
from sonde.cli.line import EventPrinter
from sonde.cli.opening import open_for_reading, store_path
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note
from sonde.cli.wording import printable, type_text
from sonde.errors import StoreError, StoreNotFoundError
from sonde.events import Event, Position, RecordedEvent
from sonde.query import resolve_session
from sonde.store import EventStore
from sonde.store.open_file import Replaceable

_CHECK_S = 0.5
_WAIT_S = 0.2
_GRACE_S = 2.0
_FIRST = 1  # the file that a store was opened with
_WINDOW = 64
_NAMED = 12


@click.command(epilog=fields_text(EventDocument))
@click.argument("session", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on showing events as they come, of sessions yet to start too.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="How many past events.")
@click.option(
    "--types", metavar="TYPES", help="Only these, separated by commas; * stands for anything: tool.*,*.failed"
)
@json_option
@db_option
def command(session: str | None, *, follow: bool, lines: int, types: str | None, as_json: bool, db: str | None) -> None:
    """Show the last events, and with -f the next ones, as they happen.

    Without SESSION, of all sessions; SESSION is an id, the beginning of one, or "last". With -f the store need not
    exist yet, and a store that is replaced is followed. Ctrl-C ends it (exit code 130) and disturbs nobody.

    \b
    Examples:
      sonde tail -f                          watch whatever runs
      sonde tail -f last --types '*.failed'  failures of the newest session
      sonde tail -n 100 --json fix-42 | jq .type
    """
    patterns = [part.strip() for part in types.split(",") if part.strip()] if types else []
    exact = None if any(set(part) & set("*?[") for part in patterns) else patterns or None
    show = EventPrinter(as_json=as_json, with_session=session is None)
    if not follow:
        with open_for_reading(db) as store:
            stream_id = None if session is None else resolve_session(store, session)
            found = View(stream_id, exact, patterns).last(store, lines, until=last_position(store))
            for event in found:
                show(event)
            if patterns and lines and not found:
                _say_the_types(store, stream_id, patterns)
        return
    file = FollowedFile(db)
    try:
        with open_for_reading(db) as store:
            stream_id = None if session is None else resolve_session(store, session)
    except StoreNotFoundError:
        note(f"waiting for '{printable(file.path)}'; nothing is recorded there yet (Ctrl-C ends)")
        # There is nothing to resolve against: the session will appear under its full name.
        follow_file(file, View(None if session == "last" else session, exact, patterns), show, lines=None)
    follow_file(file, View(stream_id, exact, patterns), show, lines=lines)


def _say_the_types(store: EventStore, stream_id: str | None, patterns: list[str]) -> None:
    events = store.read_all() if stream_id is None else store.read(stream_id)
    there = Counter(event.type for event in events).most_common()
    names = ", ".join(type_text(kind, 60) for kind, _ in there[:_NAMED])
    more = f" and {len(there) - _NAMED:,} more" if len(there) > _NAMED else ""
    note(f"no event is of type {printable(', '.join(patterns))}; there are {names}{more}" if there else "no event yet")


def last_position(store: EventStore) -> Position:
    """Where the last event of a store is."""
    return Position(max((info.last_position.value for info in store.streams()), default=0))


class View:
    """What is shown: of one stream or all, of all types or those that fit a pattern."""

    def __init__(self, stream_id: str | None, types: list[str] | None, patterns: list[str]) -> None:
        self.stream_id = stream_id
        self.types = types
        """What the store can sort out by itself."""
        self._patterns = patterns

    def has(self, event: Event) -> bool:
        """Whether an event's type fits."""
        patterns = self._patterns
        return not patterns or any(fnmatch.fnmatchcase(event.type, pattern) for pattern in patterns)

    def last(self, store: EventStore, number: int, *, until: Position) -> list[RecordedEvent]:
        """The last events up to a position. A window that doubles finds them without reading a long history."""
        found: list[RecordedEvent] = []
        end = until.value if self.stream_id is None else store.head(self.stream_id)
        window = _WINDOW + 2 * number
        while number:
            start = max(0, end - window)
            events = (event for event in self._read(store, start) if event.position <= until and self.has(event))
            found = list(deque(events, maxlen=number))
            if len(found) == number or start == 0:
                break
            window *= 8
        return found

    def _read(self, store: EventStore, start: int) -> Iterator[RecordedEvent]:
        if self.stream_id is None:
            return store.read_all(after=Position(start), types=self.types)
        return store.read(self.stream_id, start + 1)


class FollowedFile:
    """The path of a store, and which file it names at the moment."""

    def __init__(self, db: str | None) -> None:
        self._db = db
        self.path = store_path(db)

    def inode(self) -> int | None:
        """Which file the path names; ``None``: none."""
        try:
            return os.stat(os.path.expanduser(self.path)).st_ino
        except OSError:
            return None

    def opened(self) -> tuple[EventStore, int]:
        """Open the store, once there is one; also which file that is.

        Raises:
            StoreError: the file is there, and after two seconds it is still no store.
        """
        failing_since_s: float | None = None
        while True:
            inode = self.inode()
            if inode is not None:
                try:
                    store = open_for_reading(self._db)
                except StoreNotFoundError:  # gone again, or nothing in it yet
                    failing_since_s = None
                except StoreError:  # a file that is just being made, or copied here, is no store yet
                    failing_since_s = failing_since_s or time.monotonic()
                    if time.monotonic() - failing_since_s > _GRACE_S:
                        raise
                else:
                    # The same before and after: no other file came in between.
                    if self.inode() == inode:
                        return store, inode
                    store.close()
            time.sleep(_WAIT_S)


def follow_file(file: FollowedFile, view: View, show: Callable[[Event], object], *, lines: int | None) -> Never:
    """Show the last ``lines`` events (``None``: all), then the next ones, whatever file the path names.

    A file that comes in place of another is shown from its beginning. It only reads, in short transactions, so killing
    it at any moment disturbs no writer. Ends by an exception: Ctrl-C, or an error of the store.
    """
    while True:
        store, inode = file.opened()
        try:
            with store:
                position = Position.START
                if lines is not None:
                    position = last_position(store)
                    for event in view.last(store, lines, until=position):
                        show(event)
                _follow(store, file, inode, view, show, after=position)
        except StoreError:
            if file.inode() == inode:
                raise  # else what comes next says why
        if file.inode() is not None:
            note(f"'{printable(file.path)}' was replaced; following the new file from its beginning")
        else:
            note(f"'{printable(file.path)}' was removed; waiting for a new one (Ctrl-C ends)")
        lines = None


def _follow(
    store: EventStore, file: FollowedFile, inode: int, view: View, show: Callable[[Event], object], *, after: Position
) -> None:
    """Until the path names another file, or none. Looks every half second, however much is recorded.

    The store goes over to another file by itself, perhaps sooner: what it finds there is left to who opens that.
    """
    while file.inode() == inode:
        looked_s = time.monotonic()
        reached = last_position(store)
        for event in store.follow(after, types=view.types, stream_id=view.stream_id, timeout_s=_CHECK_S):
            if isinstance(store, Replaceable) and store.file_state(look=False).number != _FIRST:
                return
            after = event.position
            if view.has(event):
                show(event)
            if time.monotonic() - looked_s >= _CHECK_S:
                break
        else:
            after = max(after, reached)  # so that what the store sorted out isn't read again
