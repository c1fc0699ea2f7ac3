"""Reading: the events of a store, a page at a time, so that no read transaction outlives a call."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import Position, RecordedEvent
from sonde.store.contract import StreamInfo
from sonde.store.decoding import Decoding
from sonde.store.rows import HEAD, LAST_POSITION, fetch
from sonde.store.sealing import Stretch, StretchDamageError, StretchReader
from sonde.store.stretch import COLUMNS, Row

# The checksum, which takes time, is for who looks for damage: nobody else needs it.
_SELECT = "SELECT position, stream, version, type, time_ns, origin, seq, NULL, ids, data FROM events"
_WHOLE = f"SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?"
_LAST_POSITION = f"SELECT {LAST_POSITION}"
_NEXT_POSITION = "SELECT ifnull(min(position), 0) FROM events WHERE position > ?"
_STREAM = f"SELECT id, first_version, {HEAD} FROM streams WHERE name = ?"
# Each has an event at its first version and one at its head, if it has any: sealed, or not.
_STREAMS = """SELECT s.name, coalesce(sa.first_version, a.version, 0),
        max(s.first_version - 1, coalesce(z.version, sz.last_version, 0)),
        coalesce(sa.first_ns, a.time_ns, 0), coalesce(z.time_ns, sz.last_ns, 0),
        coalesce(z.position, sz.last_position, 0)
    FROM streams AS s
    LEFT JOIN stretches AS sa ON sa.stream = s.id
        AND sa.last_version = (SELECT min(last_version) FROM stretches WHERE stream = s.id)
    LEFT JOIN stretches AS sz ON sz.stream = s.id
        AND sz.last_version = (SELECT max(last_version) FROM stretches WHERE stream = s.id)
    LEFT JOIN events AS a ON a.stream = s.id AND a.version = s.first_version
    LEFT JOIN events AS z ON z.stream = s.id AND z.version = (SELECT max(version) FROM events WHERE stream = s.id)
    ORDER BY s.id"""
_COUNT = f"SELECT ifnull(sum(1 + {HEAD} - first_version), 0) FROM streams"
_TYPES = "SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?))"

_position, _version = itemgetter(0), itemgetter(2)

Page = tuple[list[RecordedEvent], int | None]
"""Events, and the place to go on from; ``None``: there is no more."""


class Reading:
    """Reads a file of sonde's schema. Thread-safe: a connection is the caller's, what is shared are caches of names."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._decoding = Decoding(url)
        self._stretches = StretchReader()

    def stream_page(
        self, connection: apsw.Connection, stream_id: str, from_version: int, *, event_type: str | None, rows: int
    ) -> Page:
        """At most ``rows`` events of a stream from a version on, of one type if one is given."""
        found = fetch(connection, _STREAM, (stream_id,))
        if not found:
            return [], None
        number, first, last = found[0]
        if event_type is None:
            found = self._stream_rows(connection, number, from_version, rows=rows)
            end = found[-1][2] if found else max(from_version, first) - 1
            if len(found) < rows and end < last:
                raise self._cut_short(f"the events behind version {end} of stream {stream_id!r}")
            return self.events(connection, found), (found[-1][2] + 1 if len(found) == rows else None)
        kinds = self._numbers_of(connection, (event_type,))
        if not kinds:
            return [], None
        kind = kinds[0]
        stretch = self._stretches.of_stream(connection, number, from_version)
        if stretch is not None:
            sealed = self._sealed(connection, (stretch,))
            return self.events(
                connection, [row for row in sealed if row[2] >= from_version and row[3] == kind]
            ), stretch.last_version + 1
        # Bounded by versions rather than by hits: a rare type must not keep a read open for a whole stream.
        start = max(from_version, first)
        end = start + 16 * rows
        fetched = fetch(
            connection,
            f"{_SELECT} WHERE stream = ?1 AND version >= ?2 AND version < ?3 AND type = ?4 ORDER BY version",
            (number, start, end, kind),
        )
        return self.events(connection, fetched), (end if end <= last else None)

    def all_page(
        self,
        connection: apsw.Connection,
        after: int,
        *,
        until: int | None = None,
        types: Sequence[str] | None = None,
        stream_id: str | None = None,
        rows: int,
    ) -> Page:
        """Events after a position, up to ``until``, in order of commit."""
        last = self.last_position(connection) if until is None else until
        if after >= last:
            return [], None
        if stretches := self._stretches.behind(connection, after):
            sealed = self._sealed(connection, stretches)
            begin = bisect_right(sealed, after, key=_position)
            end = bisect_right(sealed, last, key=_position)
            going = min(last, stretches[0].until)
            if end - begin > rows:
                end = begin + rows
                going = sealed[end - 1][0]
            sealed = sealed[begin:end]
            if types is not None:
                kinds = set(self._numbers_of(connection, types))
                sealed = [row for row in sealed if row[3] in kinds]
            if stream_id is not None:
                numbers = {number for number, _, _ in fetch(connection, _STREAM, (stream_id,))}
                sealed = [row for row in sealed if row[1] in numbers]
            return self.events(connection, sealed), (going if going < last else None)
        if types is None and stream_id is None:
            fetched = fetch(
                connection,
                f"{_SELECT} WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
                (after, last, rows),
            )
            if len(fetched) < rows and (fetched[-1][0] if fetched else after) < last:  # the last one was just there
                raise self._cut_short(f"the events behind position {fetched[-1][0] if fetched else after}")
            return self.events(connection, fetched), (fetched[-1][0] if len(fetched) == rows else None)
        # Bounded by positions rather than by hits, as above; where retention left a hole, the window starts behind it.
        ((first,),) = fetch(connection, _NEXT_POSITION, (after,))
        end = min(last, first + 16 * rows)
        where = " WHERE position >= ? AND position <= ?"
        values: list[int | str] = [first, end]
        if types is not None:
            where += f" AND type IN ({_TYPES})"
            values.append(json.dumps(types))
        if stream_id is not None:
            where += " AND +stream = (SELECT id FROM streams WHERE name = ?)"
            values.append(stream_id)
        fetched = fetch(connection, f"{_SELECT}{where} ORDER BY position", values)
        return self.events(connection, fetched), (end if end < last else None)

    def rows_page(
        self, connection: apsw.Connection, after: int, *, rows: int
    ) -> tuple[list[Row], list[StretchDamageError], int | None]:
        """Some rows after a position, in order, as they are stored: for who looks for damage.

        And what of them cannot be read, and the place to go on from.
        """
        damage: list[StretchDamageError] = []
        if stretches := self._stretches.behind(connection, after):
            found: list[Row] = []
            for stretch in stretches:
                try:
                    found += [row for row in self._stretches.rows(connection, stretch) if row[0] > after]
                except StretchDamageError as error:
                    damage.append(error)
            return sorted(found, key=_position), damage, stretches[0].until
        found = fetch(connection, _WHOLE, (after, rows))
        return found, damage, found[-1][0] if found else None

    def last_position(self, connection: apsw.Connection) -> int:
        """Of the last event that is there, 0 if none is."""
        return int(fetch(connection, _LAST_POSITION)[0][0])

    def head(self, connection: apsw.Connection, stream_id: str) -> int:
        """The version last given in a stream."""
        rows = fetch(connection, _STREAM, (stream_id,))
        return int(rows[0][2]) if rows else 0

    def streams(self, connection: apsw.Connection) -> list[StreamInfo]:
        """All streams, in the order in which they were made."""
        return [
            StreamInfo(name, first, last, first_ns, last_ns, Position(position))
            for name, first, last, first_ns, last_ns, position in fetch(connection, _STREAMS)
        ]

    def count(self, connection: apsw.Connection) -> int:
        """How many events are there: exact, and cheap, since versions have no holes."""
        return int(fetch(connection, _COUNT)[0][0])

    def events(self, connection: apsw.Connection, rows: Sequence[Row]) -> list[RecordedEvent]:
        """Events of rows, sealed or not.

        Raises:
            StoreCorruptError: one cannot be read.
        """
        return self._decoding.events(connection, rows)

    def _stream_rows(self, connection: apsw.Connection, stream: int, start: int, *, rows: int) -> list[Row]:
        """``rows`` of a stream from a version on, or as many as there are: first what is sealed, then the rest."""
        found: list[Row] = []
        while len(found) < rows and (stretch := self._stretches.of_stream(connection, stream, start)) is not None:
            sealed = self._sealed(connection, (stretch,))
            begin = bisect_left(sealed, start, key=_version)
            found += sealed[begin : begin + rows - len(found)]
            start = stretch.last_version + 1
        if len(found) < rows:
            found += fetch(
                connection,
                f"{_SELECT} WHERE stream = ? AND version >= ? ORDER BY version LIMIT ?",
                (stream, start, rows - len(found)),
            )
        return found

    def _numbers_of(self, connection: apsw.Connection, types: Sequence[str]) -> list[int]:
        return [number for (number,) in fetch(connection, _TYPES, (json.dumps(types),))]

    def _sealed(self, connection: apsw.Connection, stretches: Sequence[Stretch]) -> list[Row]:
        try:
            return self._stretches.merged(connection, stretches)
        except StretchDamageError as error:
            ((stream_id,),) = fetch(connection, "SELECT name FROM streams WHERE id = ?", (error.stretch.stream,)) or [
                ("",)
            ]
            raise StoreCorruptError(
                f"cannot read events {error.stretch.first_version} to {error.stretch.last_version} of stream "
                f"{stream_id!r} in '{self._url}': {error}; check the store with sonde doctor, restore a backup"
            ) from None

    def _cut_short(self, what: str) -> StoreCorruptError:
        """A search that ended before what is known to be there: a damaged page does that, without an error."""
        return StoreCorruptError(
            f"cannot read {what} in '{self._url}': they are not found; check the store with sonde doctor, restore a "
            "backup"
        )
