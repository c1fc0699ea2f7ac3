"""Reading: the events of a store, a page at a time, so that no read transaction outlives a call."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import EventType, Position, RecordedEvent
from sonde.store.contract import StreamInfo
from sonde.store.decoding import Decoding
from sonde.store.identities import Run
from sonde.store.losses import without
from sonde.store.names import MAX_CACHED
from sonde.store.rows import HEAD, LAST_POSITION, fetch
from sonde.store.sealing import Stretch, StretchDamageError, StretchReader
from sonde.store.stretch import COLUMNS, Row
from sonde.store.told import refuse_untold, told_by

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
_COUNT_ROWS = "SELECT count(*) FROM events WHERE stream = ? AND version >= ? AND version < ?"
_COUNT_POSITIONS = "SELECT count(*) FROM events NOT INDEXED WHERE position > ? AND position <= ?"
_GROUPS = """SELECT stream, min(version), max(version), count(*) FROM events NOT INDEXED
    WHERE position > ? AND position <= ? GROUP BY +stream"""
_VERSIONS = """SELECT version FROM events NOT INDEXED
    WHERE position > ? AND position <= ? AND +stream = ? ORDER BY position"""
_POSITION = "SELECT position FROM events WHERE stream = ? AND version = ?"
_VERSION_AT = "SELECT ifnull(max(version), ?3) FROM events NOT INDEXED WHERE +stream = ?1 AND position <= ?2"
_TYPES = "SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?))"

_TOLD_ROWS = 500
_LAST_TYPES_KEPT = 4_096  # streams

_position, _version = itemgetter(0), itemgetter(2)

Page = tuple[list[RecordedEvent], int | None]
"""Events, and the place to go on from; ``None``: there is no more."""


class Reading:
    """Reads a file of sonde's schema. Thread-safe: a connection is the caller's, what is shared are caches of names."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._decoding = Decoding(url)
        self._stretches = StretchReader()
        self._told: dict[str, list[Run]] = {}
        self._last_types: dict[str, tuple[Position, dict[str, str]]] = {}

    def stream_page(
        self, connection: apsw.Connection, stream_id: str, from_version: int, *, event_type: str | None, rows: int
    ) -> Page:
        """At most ``rows`` events of a stream from a version on, of one type if one is given.

        Raises:
            StoreCorruptError: one cannot be read, or versions between them are missing that nobody tells of.
        """
        found = fetch(connection, _STREAM, (stream_id,))
        if not found:
            return [], None
        number, first, last = found[0]
        start = max(from_version, first)
        if event_type is not None:
            kinds = self._numbers_of(connection, (event_type,))
            if not kinds:
                return [], None
            events, end, count = self._typed(connection, number, start, kinds[0], rows=rows)
            if count < min(end - 1, last) - start + 1:
                self._look_for_holes(connection, number, stream_id, start, min(end - 1, last))
            return events, (end if end <= last else None)
        found = self._stream_rows(connection, number, start, rows=rows)
        end = found[-1][2] if found else start - 1
        if len(found) < rows and end < last:
            raise self._cut_short(f"the events behind version {end} of stream {stream_id!r}")
        if found and end != start + len(found) - 1:
            self._look_for_holes(connection, number, stream_id, start, end)
        return self.events(connection, found), (end + 1 if len(found) == rows else None)

    def last_types(self, connection: apsw.Connection, stream: StreamInfo, *, rows: int) -> dict[str, str]:
        """Who wrote the last ``rows`` events of a stream, and the type of the last one of each.

        Looks at no data and keeps no rows: retention asks each second, and for it a cache would fill for nothing. What
        was found is kept until the stream goes on.

        Raises:
            StoreCorruptError: one cannot be read.
        """
        position, found = self._last_types.get(stream.stream_id, (Position.START, {}))
        if position == stream.last_position:
            return found
        found = {}
        start = max(stream.first_version, stream.last_version - rows + 1)
        for number, _, _ in fetch(connection, _STREAM, (stream.stream_id,)):
            for row in self._stream_rows(connection, number, start, rows=rows, stretches=StretchReader()):
                found[self._decoding.writer_id(connection, row[5])] = self._decoding.type_name(connection, row[3])
        if len(self._last_types) >= _LAST_TYPES_KEPT:
            self._last_types = {}
        self._last_types[stream.stream_id] = stream.last_position, found
        return found

    def told(self, connection: apsw.Connection, stream_id: str) -> list[Run]:
        """The versions of a stream that a repair could not save, as its gaps in the stream say.

        They come with the file, never later: so they are looked for once.
        """
        found = self._told.get(stream_id)
        if found is None:
            found = []
            kinds = self._numbers_of(connection, (EventType.GAP.value,))
            for number, start, last in fetch(connection, _STREAM, (stream_id,)) if kinds else ():
                version = start
                while version <= last:
                    gaps, version, _ = self._typed(connection, number, version, kinds[0], rows=_TOLD_ROWS)
                    found += [run for gap in gaps if (run := told_by(gap)) is not None]
            if len(self._told) > MAX_CACHED:
                self._told = {}
            self._told[stream_id] = found
        return found

    def _typed(
        self, connection: apsw.Connection, stream: int, start: int, kind: int, *, rows: int
    ) -> tuple[list[RecordedEvent], int, int]:
        """The events of one type in the next part of a stream, the version behind that part, and how many all are."""
        stretch = self._stretches.of_stream(connection, stream, start)
        if stretch is not None:
            sealed = self._sealed(connection, (stretch,))
            begin = bisect_left(sealed, start, key=_version)
            events = self.events(connection, [row for row in sealed[begin:] if row[3] == kind])
            return events, stretch.last_version + 1, len(sealed) - begin
        # Bounded by versions rather than by hits: a rare type must not keep a read open for a whole stream.
        end = start + 16 * rows
        fetched = fetch(
            connection,
            f"{_SELECT} WHERE stream = ?1 AND version >= ?2 AND version < ?3 AND type = ?4 ORDER BY version",
            (stream, start, end, kind),
        )
        ((count,),) = fetch(connection, _COUNT_ROWS, (stream, start, end))
        return self.events(connection, fetched), end, count

    def _look_for_holes(self, connection: apsw.Connection, stream: int, stream_id: str, first: int, last: int) -> None:
        """The versions of a stream from one to another are not all there: refuse that unless gaps tell of the rest."""
        present: list[Run] = []
        version = first
        while version <= last and (rows := self._stream_rows(connection, stream, version, rows=_TOLD_ROWS)):
            for row in rows:
                version = row[2]
                if type(version) is not int:
                    raise StoreCorruptError(
                        f"cannot read an event of stream {stream_id!r} in '{self._url}': its version is {version!r}; "
                        "check the store with sonde doctor, restore a backup"
                    )
                present.append((version, version))
            version += 1
        refuse_untold(self._url, stream_id, without([(first, last)], present), self.told(connection, stream_id))

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

    def is_dense(self, connection: apsw.Connection, after: int, until: int) -> bool:
        """Whether there is an event at each position behind one and up to another, all of them sealed or none."""
        if stretches := self._stretches.behind(connection, after):
            count = sum(map(len, self._slices(connection, stretches, after, until)))
        else:
            ((count,),) = fetch(connection, _COUNT_POSITIONS, (after, until))
        return bool(count == until - after)

    def runs(self, connection: apsw.Connection, after: int, until: int) -> list[tuple[str, int, int]]:
        """Which versions of which streams are there behind a position and up to another, all of them sealed or none.

        Streams with a first and a last version. One comes again, in order, where versions between are missing.
        """
        found: list[tuple[int, Sequence[int]]]
        if stretches := self._stretches.behind(connection, after):
            slices = self._slices(connection, stretches, after, until)
            found = [(rows[0][1], [row[2] for row in rows]) for rows in slices if rows]
        else:
            found = []
            for stream, first, last, count in fetch(connection, _GROUPS, (after, until)):
                if type(last) is int and last - first + 1 == count:
                    found.append((stream, range(first, last + 1)))
                else:
                    versions = fetch(connection, _VERSIONS, (after, until, stream))
                    found.append((stream, [version for (version,) in versions]))
        return [
            (self._decoding.stream_id(connection, stream), *run)
            for stream, versions in found
            for run in _runs(versions)
        ]

    def position_of(self, connection: apsw.Connection, stream_id: str, version: int) -> int:
        """Where an event stands; 0 if it is not there."""
        for number, _, _ in fetch(connection, _STREAM, (stream_id,)):
            if (stretch := self._stretches.of_stream(connection, number, version)) is not None:
                rows = self._sealed(connection, (stretch,))
                index = bisect_left(rows, version, key=_version)
                return int(rows[index][0]) if rows[index : index + 1] and rows[index][2] == version else 0
            for (position,) in fetch(connection, _POSITION, (number, version)):
                return int(position)
        return 0

    def version_at(self, connection: apsw.Connection, stream_id: str, position: int) -> int:
        """The last version of a stream that stands at a position or before it; 0 if none does. Looks at many rows."""
        version = 0
        for number, _, _ in fetch(connection, _STREAM, (stream_id,)):
            while (stretch := self._stretches.of_stream(connection, number, version + 1)) is not None:
                if stretch.last_position > position:
                    rows = self._sealed(connection, (stretch,))
                    end = bisect_right(rows, position, key=_position)
                    return int(rows[end - 1][2]) if end else version
                version = stretch.last_version
            ((version,),) = fetch(connection, _VERSION_AT, (number, position, version))
        return version

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

    def _stream_rows(
        self,
        connection: apsw.Connection,
        stream: int,
        start: int,
        *,
        rows: int,
        stretches: StretchReader | None = None,
    ) -> list[Row]:
        """``rows`` of a stream from a version on, or as many as there are: first what is sealed, then the rest."""
        found: list[Row] = []
        while len(found) < rows and (stretch := self._stretches.of_stream(connection, stream, start)) is not None:
            sealed = self._sealed(connection, (stretch,), by=stretches)
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

    def _slices(
        self, connection: apsw.Connection, stretches: Sequence[Stretch], after: int, until: int
    ) -> list[Sequence[Row]]:
        """The rows of each stretch that stand behind a position and up to another."""
        found: list[Sequence[Row]] = []
        for stretch in stretches:
            rows = self._sealed(connection, (stretch,))
            begin, end = (bisect_right(rows, position, key=_position) for position in (after, until))
            found.append(rows[begin:end])
        return found

    def _numbers_of(self, connection: apsw.Connection, types: Sequence[str]) -> list[int]:
        return [number for (number,) in fetch(connection, _TYPES, (json.dumps(types),))]

    def _sealed(
        self, connection: apsw.Connection, stretches: Sequence[Stretch], *, by: StretchReader | None = None
    ) -> list[Row]:
        try:
            return (by or self._stretches).merged(connection, stretches)
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


def _runs(versions: Sequence[int]) -> Iterator[Run]:
    """Versions in the order in which they stand, as runs of those that follow each other."""
    first, last = versions[0], versions[-1]
    if type(first) is int and type(last) is int and last - first + 1 == len(versions):
        yield first, last
    else:
        yield from ((version, version) for version in versions)
