"""Continuity: whether who reads all events gets all of them, told by the versions of each stream.

A damaged page can make SQLite end a search early, or pass over rows, without an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import EventType, RecordedEvent
from sonde.store.identities import Run
from sonde.store.losses import without
from sonde.store.reading import Reading
from sonde.store.rows import HEAD, fetch

_BOUNDS = f"SELECT first_version, {HEAD} FROM streams WHERE name = ?"
_ALL_BOUNDS = f"SELECT name, first_version, {HEAD} AS head FROM streams"
_GAP_ROWS = 500


class Continuity:
    """Of one reading of all streams, in order of position, each page in the snapshot that it was read in."""

    def __init__(self, url: str, *, is_whole: bool) -> None:
        """``is_whole``: it begins with the first event that is there."""
        self._url = url
        self._is_whole = is_whole
        self._next: dict[str, int] = {}
        self._told: dict[str, list[Run]] = {}

    def check(
        self, connection: apsw.Connection, reader: Reading, events: Sequence[RecordedEvent], *, is_end: bool
    ) -> None:
        """Look at the next page.

        Raises:
            StoreCorruptError: versions are missing that neither retention removed nor a gap of a repair tells of.
        """
        following = self._next
        for event in events:
            stream_id, version = event.stream_id, event.version
            if following.get(stream_id, -1) != version:
                self._look_at_jump(connection, reader, stream_id, version)
            following[stream_id] = version + 1
        if is_end:
            self._look_at_ends(connection, reader)

    def _look_at_jump(self, connection: apsw.Connection, reader: Reading, stream_id: str, version: int) -> None:
        if type(version) is not int:
            raise StoreCorruptError(
                f"cannot read event of stream {stream_id!r} in '{self._url}': its version is {version!r}; check the "
                "store with sonde doctor, restore a backup"
            )
        expected = self._next.get(stream_id)
        if expected is None and not self._is_whole:
            return
        ((first, _),) = fetch(connection, _BOUNDS, (stream_id,)) or [(version, version)]
        self._require(connection, reader, stream_id, max(first, expected or 0), version - 1)

    def _look_at_ends(self, connection: apsw.Connection, reader: Reading) -> None:
        if self._is_whole:
            bounds = fetch(connection, _ALL_BOUNDS)
        else:
            bounds = [(name, *row) for name in self._next for row in fetch(connection, _BOUNDS, (name,))]
        for stream_id, first, head in bounds:
            self._require(connection, reader, stream_id, max(first, self._next.get(stream_id, 0)), head)

    def _require(self, connection: apsw.Connection, reader: Reading, stream_id: str, first: int, last: int) -> None:
        """That no event is to be found from a version to another."""
        if first > last:
            return
        if stream_id not in self._told:
            self._told[stream_id] = _told(connection, reader, stream_id)
        if missing := without([(first, last)], self._told[stream_id]):
            raise StoreCorruptError(
                f"cannot read events {missing[0][0]} to {missing[0][1]} of stream {stream_id!r} in '{self._url}': they "
                "are not found, though nothing removed them; check the store with sonde doctor, restore a backup"
            )


def _told(connection: apsw.Connection, reader: Reading, stream_id: str) -> list[Run]:
    """The versions that a repair could not save, as its gaps in the stream say."""
    found: list[Run] = []
    version: int | None = 0
    while version is not None:
        events, version = reader.stream_page(
            connection, stream_id, version, event_type=EventType.GAP.value, rows=_GAP_ROWS
        )
        for event in events:
            first, last = event.data.get("first_version"), event.data.get("last_version")
            if type(first) is int and type(last) is int and first <= last <= event.version:
                found.append((first, last))
    return found
