"""``sonde tail``: the last events, and the next ones as they are committed."""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

import click

from sonde.cli.documents import EventDocument, fields_text
from sonde.cli.line import EventPrinter
from sonde.cli.opening import open_for_reading, store_path
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note
from sonde.cli.wording import printable
from sonde.errors import StoreError, StoreNotFoundError
from sonde.events import Event, Position, RecordedEvent
from sonde.query import resolve_session
from sonde.store import EventStore

_CHECK_S = 0.5
_WAIT_S = 0.2
_WINDOW = 64


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
    is_waiting = follow and not os.path.exists(os.path.expanduser(store_path(db)))
    store = wait_for_store(db) if follow else open_for_reading(db)
    with store:
        if is_waiting:  # nothing to resolve against: the session will appear under its full name
            stream_id = None if session == "last" else session
        else:
            stream_id = None if session is None else resolve_session(store, session)
        view = View(stream_id, exact, patterns)
        position = Position(max((info.last_position.value for info in store.streams()), default=0))
        for event in () if is_waiting else view.last(store, lines, until=position):
            show(event)
        if not follow:
            return
        if sys.stdout.isatty() and not as_json:
            note("(following; Ctrl-C ends)")
    Follower(db, view, show).run(Position.START if is_waiting else position)


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


def wait_for_store(db: str | None) -> EventStore:
    """Open the store, once there is one."""
    said = False
    while True:
        try:
            return open_for_reading(db)
        except StoreNotFoundError:
            if not said:
                note(f"waiting for '{store_path(db)}'; nothing is recorded there yet")
                said = True
        time.sleep(_WAIT_S)


class Follower:
    """Follows the store at a path, whatever file that is: one that is replaced is followed from its beginning.

    It only reads, in short transactions, so killing it at any moment disturbs no writer.
    """

    def __init__(self, db: str | None, view: View, show: Callable[[Event], object]) -> None:
        self._db = db
        self._path = store_path(db)
        self._view = view
        self._show = show

    def run(self, position: Position) -> None:
        """Follow until interrupted."""
        while True:
            inode = self._inode()
            try:
                with wait_for_store(self._db) as store:
                    self._follow(store, position, inode)
            except StoreError as error:
                if self._inode() == inode:
                    raise
                note(f"sonde: {error}")
            if self._inode() is None:
                note(f"'{printable(self._path)}' was removed; waiting for a new one (Ctrl-C ends)")
            else:
                note(f"'{printable(self._path)}' was replaced; following the new file from its beginning")
            position = Position.START

    def _follow(self, store: EventStore, position: Position, inode: int | None) -> None:
        """Until the path leads to another file, or to none."""
        while True:
            checked_s = time.monotonic()
            view = self._view
            for event in store.follow(position, types=view.types, stream_id=view.stream_id, timeout_s=_CHECK_S):
                position = event.position
                if view.has(event):
                    self._show(event)
                if time.monotonic() - checked_s >= _CHECK_S:
                    break
            if self._inode() != inode:
                return

    def _inode(self) -> int | None:
        try:
            return os.stat(os.path.expanduser(self._path)).st_ino
        except OSError:
            return None
