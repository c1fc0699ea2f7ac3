"""The original's files: the Go program's table, read as events. Never written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from sonde.errors import EventDecodeError, StoreCorruptError
from sonde.events import Position, RecordedEvent, decode_data, parse_timestamp
from sonde.store.contract import StreamInfo
from sonde.store.reading import Page
from sonde.store.rows import fetch

_SELECT = """SELECT id, stream_id, event_type, version, session_id, plan_id, task_id, data, timestamp
    FROM main.telemetry_events"""
_HEAD = "SELECT ifnull(max(version), 0) FROM main.telemetry_events WHERE stream_id = ?"
_STREAMS = """SELECT s.stream_id, s.first, s.last, a.timestamp, z.timestamp, s.last_id FROM (
        SELECT stream_id, min(version) AS first, max(version) AS last, min(id) AS first_id, max(id) AS last_id
        FROM main.telemetry_events GROUP BY stream_id) AS s
    JOIN main.telemetry_events AS a ON a.stream_id = s.stream_id AND a.version = s.first
    JOIN main.telemetry_events AS z ON z.stream_id = s.stream_id AND z.version = s.last
    ORDER BY s.first_id"""


class OriginalReading:
    """Reads the original's table as :class:`~sonde.store.reading.Reading` reads sonde's. A position is a row's id."""

    def __init__(self, url: str) -> None:
        self._url = url

    def stream_page(
        self, connection: apsw.Connection, stream_id: str, from_version: int, *, event_type: str | None, rows: int
    ) -> Page:
        """At most ``rows`` events of a stream from a version on, of one type if one is given."""
        of_type, values = ("", []) if event_type is None else (" AND event_type = ?", [event_type])
        fetched = fetch(
            connection,
            f"{_SELECT} WHERE stream_id = ? AND version >= ?{of_type} ORDER BY version LIMIT ?",
            (stream_id, from_version, *values, rows),
        )
        return self._events(fetched), (int(fetched[-1][3]) + 1 if len(fetched) == rows else None)

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
        where = " WHERE id > ?"
        values: list[Any] = [after]
        if until is not None:
            where += " AND id <= ?"
            values.append(until)
        if types is not None:
            where += " AND event_type IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(types))
        if stream_id is not None:
            where += " AND stream_id = ?"
            values.append(stream_id)
        fetched = fetch(connection, f"{_SELECT}{where} ORDER BY id LIMIT ?", (*values, rows))
        return self._events(fetched), (int(fetched[-1][0]) if len(fetched) == rows else None)

    def last_position(self, connection: apsw.Connection) -> int:
        """Of the last event, 0 if there is none."""
        return int(fetch(connection, "SELECT ifnull(max(id), 0) FROM main.telemetry_events")[0][0])

    def head(self, connection: apsw.Connection, stream_id: str) -> int:
        """The version of a stream's last event."""
        return int(fetch(connection, _HEAD, (stream_id,))[0][0])

    def streams(self, connection: apsw.Connection) -> list[StreamInfo]:
        """All streams, in the order in which they were made."""
        return [
            StreamInfo(name, first, last, self._time_ns(first_time), self._time_ns(last_time), Position(position))
            for name, first, last, first_time, last_time, position in fetch(connection, _STREAMS)
        ]

    def count(self, connection: apsw.Connection) -> int:
        """How many events are there."""
        return int(fetch(connection, "SELECT count(*) FROM main.telemetry_events")[0][0])

    def _events(self, rows: list[Any]) -> list[RecordedEvent]:
        return [self._event(row) for row in rows]

    def _event(self, row: tuple[Any, ...]) -> RecordedEvent:
        number, stream_id, event_type, version, session_id, plan_id, task_id, data, timestamp = row
        try:
            return RecordedEvent(
                event_type,
                self._time_ns(timestamp),
                session_id,
                plan_id,
                task_id,
                decode_data(data),
                stream_id=stream_id,
                version=version,
                position=Position(number),
            )
        except (ValueError, TypeError) as error:
            raise StoreCorruptError(
                f"cannot read event {number} in '{self._url}': its data is no JSON object ({error}); correct or delete "
                "the row in a copy of the file"
            ) from None

    def _time_ns(self, timestamp: object) -> int:
        try:
            return parse_timestamp(str(timestamp))
        except EventDecodeError as error:
            raise StoreCorruptError(f"cannot read a time in '{self._url}': {error}") from None
