"""Continuity: whether who reads the events of all streams gets all of them, told by the versions of each stream.

A damaged page can make SQLite end a search early, or pass over rows, without an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import RecordedEvent
from sonde.store.reading import Reading
from sonde.store.rows import HEAD, fetch
from sonde.store.told import refuse_untold

_STANDS = """ifnull((SELECT position FROM events WHERE stream = streams.id
        AND version = (SELECT max(version) FROM events WHERE stream = streams.id)),
    (SELECT last_position FROM stretches WHERE stream = streams.id ORDER BY last_version DESC LIMIT 1))"""
_BOUNDS = f"SELECT name, first_version, {HEAD} FROM streams"
_BOUNDS_AND_PLACE = f"SELECT name, first_version, {HEAD}, {_STANDS} FROM streams"


class Continuity:
    """Of one reading in order of position, of all streams or of one; each page in the snapshot that it was read in."""

    def __init__(self, url: str, *, after: int, stream_id: str | None = None) -> None:
        """``after``: the position behind which it begins; up to 0, it is a whole one. ``stream_id``: of one stream."""
        self._url = url
        self._is_whole = after <= 0
        self._stream_id = stream_id
        self._next: dict[str, int] = {}
        # Up to there nothing can be missing, whatever its stream: there is an event at each position.
        self._dense_until = self._begin = max(0, after)

    def check(
        self, connection: apsw.Connection, reader: Reading, after: int, events: Sequence[RecordedEvent], *, is_end: bool
    ) -> None:
        """Look at the next page, of which it has all events, the first ones behind a position.

        Raises:
            StoreCorruptError: versions are missing that neither retention removed nor a gap of a repair tells of.
        """
        following = self._next
        if events and self._dense_until == after and events[-1].position.value - after == len(events):
            self._dense_until = events[-1].position.value
            events = ()
        for event in events:
            stream_id, version = event.stream_id, event.version
            if following.get(stream_id, -1) != version:
                self._look_at_jump(connection, reader, stream_id, version)
            following[stream_id] = version + 1
        if is_end:
            self._look_at_ends(connection, reader)

    def check_filtered(
        self, connection: apsw.Connection, reader: Reading, after: int, until: int, *, is_end: bool
    ) -> None:
        """Look at what the next page was chosen from: all that stands behind a position and up to another.

        Positions without holes tell it, which takes 30 ns for a row that is not sealed; else versions, which takes 200.

        Raises:
            StoreCorruptError: as :meth:`check`.
        """
        following = self._next
        if after < until:
            if self._dense_until == after and reader.is_dense(connection, after, until):
                self._dense_until = until
            else:
                for stream_id, first, last in reader.runs(connection, after, until):
                    if self._stream_id in (None, stream_id):
                        if following.get(stream_id, -1) != first:
                            self._look_at_jump(connection, reader, stream_id, first)
                        following[stream_id] = last + 1
        if is_end:
            self._look_at_ends(connection, reader)

    def _look_at_jump(self, connection: apsw.Connection, reader: Reading, stream_id: str, version: int) -> None:
        if type(version) is not int:
            raise StoreCorruptError(
                f"cannot read event of stream {stream_id!r} in '{self._url}': its version is {version!r}; check the "
                "store with sonde doctor, restore a backup"
            )
        if version == 1:
            return
        ((_, first, _),) = fetch(connection, f"{_BOUNDS} WHERE name = ?", (stream_id,)) or [(stream_id, version, 0)]
        first = max(first, self._next.get(stream_id, 0))
        if first < version and stream_id not in self._next:
            if 0 < reader.position_of(connection, stream_id, version - 1) <= self._dense_until:
                return
            first = max(first, reader.version_at(connection, stream_id, self._dense_until) + 1)
        self._require(connection, reader, stream_id, first, version - 1)

    def _look_at_ends(self, connection: apsw.Connection, reader: Reading) -> None:
        statement = _BOUNDS_AND_PLACE if self._dense_until > self._begin else _BOUNDS
        if self._is_whole and self._stream_id is None:
            bounds = fetch(connection, statement)
        else:
            names = [self._stream_id] if self._is_whole else list(self._next)
            bounds = [row for name in names for row in fetch(connection, f"{statement} WHERE name = ?", (name,))]
        for stream_id, first, head, *place in bounds:
            expected = self._next.get(stream_id)
            if expected is None:
                if first > head or (place and place[0] is not None and place[0] <= self._dense_until):
                    continue
                expected = reader.version_at(connection, stream_id, self._dense_until) + 1
            self._require(connection, reader, stream_id, max(first, expected), head)

    def _require(self, connection: apsw.Connection, reader: Reading, stream_id: str, first: int, last: int) -> None:
        """That no event is to be found from a version to another."""
        if first <= last:
            refuse_untold(self._url, stream_id, [(first, last)], reader.told(connection, stream_id))
