"""Reading: rows into events, a page at a time, so that no read transaction outlives a call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import Position, RecordedEvent, decode_object
from sonde.store.contract import StreamInfo
from sonde.store.expansion import ContentDamageError, ContentReader
from sonde.store.names import NameReader
from sonde.store.origins import OriginReader
from sonde.store.rows import fetch

_SELECT = "SELECT position, stream, version, type, time_ns, origin, seq, ids, data FROM events"
_LAST_POSITION = "SELECT ifnull(max(position), 0) FROM events"
_NEXT_POSITION = "SELECT ifnull(min(position), 0) FROM events WHERE position > ?"
_STREAM = """SELECT id, first_version,
        max(first_version - 1, ifnull((SELECT max(version) FROM events WHERE stream = id), 0))
    FROM streams WHERE name = ?"""
_STREAMS = """SELECT s.name, ifnull(a.version, 0), max(s.first_version - 1, ifnull(z.version, 0)),
        ifnull(a.time_ns, 0), ifnull(z.time_ns, 0), ifnull(z.position, 0)
    FROM streams AS s
    LEFT JOIN events AS a ON a.stream = s.id AND a.version = s.first_version
    LEFT JOIN events AS z ON z.stream = s.id AND z.version = (SELECT max(version) FROM events WHERE stream = s.id)
    ORDER BY s.id"""
_COUNT = """SELECT ifnull(sum(1 + ifnull((SELECT max(version) FROM events WHERE stream = id), first_version - 1)
    - first_version), 0) FROM streams"""

Page = tuple[list[RecordedEvent], int | None]
"""Events, and the place to go on from; ``None``: there is no more."""


class Reading:
    """Reads a file of sonde's schema. Thread-safe: a connection is the caller's, what is shared are caches of names."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = NameReader("names", {0: ""})
        self._streams = NameReader("streams")
        self._origins = OriginReader()
        self._contents = ContentReader()

    def stream_page(
        self, connection: apsw.Connection, stream_id: str, from_version: int, *, event_type: str | None, rows: int
    ) -> Page:
        """At most ``rows`` events of a stream from a version on, of one type if one is given."""
        found = fetch(connection, _STREAM, (stream_id,))
        if not found:
            return [], None
        number = found[0][0]
        if event_type is None:
            fetched = fetch(
                connection,
                f"{_SELECT} WHERE stream = ? AND version >= ? ORDER BY version LIMIT ?",
                (number, from_version, rows),
            )
            return self._events(connection, fetched), (fetched[-1][2] + 1 if len(fetched) == rows else None)
        # Bounded by versions rather than by hits: a rare type must not keep a read open for a whole stream.
        last = found[0][2]
        start = max(from_version, found[0][1])
        end = start + 16 * rows
        fetched = fetch(
            connection,
            f"{_SELECT} WHERE stream = ?1 AND version >= ?2 AND version < ?3"
            " AND type = (SELECT id FROM names WHERE name = ?4) ORDER BY version",
            (number, start, end, event_type),
        )
        return self._events(connection, fetched), (end if end <= last else None)

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
        if types is None and stream_id is None:
            fetched = fetch(
                connection,
                f"{_SELECT} WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
                (after, last, rows),
            )
            return self._events(connection, fetched), (fetched[-1][0] if len(fetched) == rows else None)
        # Bounded by positions rather than by hits, as above; where retention left a hole, the window starts behind it.
        ((first,),) = fetch(connection, _NEXT_POSITION, (after,))
        end = min(last, first + 16 * rows)
        where = " WHERE position >= ? AND position <= ?"
        values: list[int | str] = [first, end]
        if types is not None:
            where += " AND type IN (SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?)))"
            values.append(json.dumps(types))
        if stream_id is not None:
            where += " AND +stream = (SELECT id FROM streams WHERE name = ?)"
            values.append(stream_id)
        fetched = fetch(connection, f"{_SELECT}{where} ORDER BY position", values)
        return self._events(connection, fetched), (end if end < last else None)

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

    def _events(self, connection: apsw.Connection, rows: list[tuple]) -> list[RecordedEvent]:  # type: ignore[type-arg]  # any row
        # The loop of the whole room: exact dicts, C calls, and no look-up twice.
        names, streams, origins = self._names.known, self._streams.known, self._origins.known
        events: list[RecordedEvent] = []
        append = events.append
        for position, stream, version, kind, time_ns, origin, seq, ids, data in rows:
            try:
                stream_id = streams[stream]
                type_name = names[kind]
                session_id, plan_id, task_id, writer_id = origins[origin]
            except KeyError:
                stream_id = streams.get(stream) or self._streams.fetch(connection, stream)
                type_name = names.get(kind) or self._names.fetch(connection, kind)
                found = origins.get(origin) or self._origins.fetch(connection, origin)
                session_id, plan_id, task_id, writer_id = found
            trace_id = span_id = parent_id = ""
            if ids is not None:
                if type(ids) is bytes:
                    text = ids.hex()
                    trace_id, span_id, parent_id = text[:32], text[32:48], text[48:]
                else:
                    trace_id, span_id, parent_id = json.loads(ids)
            try:
                append(
                    RecordedEvent(
                        type_name,
                        time_ns,
                        session_id,
                        plan_id,
                        task_id,
                        decode_object(data)
                        if type(data) is str
                        else self._large(connection, data)
                        if data is not None
                        else {},
                        trace_id,
                        span_id,
                        parent_id,
                        writer_id,
                        seq,
                        stream_id=stream_id,
                        version=version,
                        position=Position(position),
                    )
                )
            except ContentDamageError as error:
                raise StoreCorruptError(
                    f"cannot read event {version} of stream {stream_id!r} in '{self._url}': {error}; check the store "
                    "with sonde doctor, restore a backup"
                ) from None
            except ValueError as error:
                raise StoreCorruptError(
                    f"cannot read event {version} of stream {stream_id!r} in '{self._url}': its data is no JSON object "
                    f"({error}); check the store with sonde doctor"
                ) from None
        return events

    def _large(self, connection: apsw.Connection, place: int) -> dict[str, Any]:
        return decode_object(self._contents.expand(connection, place))
