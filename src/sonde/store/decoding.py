"""Decoding: rows into events, with the names and the large data that they refer to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from sonde.errors import StoreCorruptError
from sonde.events import Position, RecordedEvent, decode_object
from sonde.store.expansion import ContentReader
from sonde.store.names import NameReader
from sonde.store.origins import OriginReader
from sonde.store.shelving import ContentDamageError
from sonde.store.stretch import Row

_WITHOUT_SPAN = 50  # hexadecimal digits of ``ids``


class Decoding:
    """Decodes the rows of one file. Thread-safe: a connection is the caller's, what is shared are caches."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = NameReader("names", {0: ""})
        self._streams = NameReader("streams")
        self._origins = OriginReader()
        self._contents = ContentReader()

    def stream_id(self, connection: apsw.Connection, stream: int) -> str:
        """The name of a stream."""
        return self._streams.known.get(stream) or self._streams.fetch(connection, stream)

    def type_name(self, connection: apsw.Connection, kind: int) -> str:
        """The name of a type."""
        return self._names.known.get(kind) or self._names.fetch(connection, kind)

    def writer_id(self, connection: apsw.Connection, origin: int) -> str:
        """The writer of an origin."""
        return (self._origins.known.get(origin) or self._origins.fetch(connection, origin)).writer_id

    def events(self, connection: apsw.Connection, rows: Sequence[Row]) -> list[RecordedEvent]:
        """Events of rows, sealed or not.

        Raises:
            StoreCorruptError: one cannot be read.
        """
        # The loop of the whole room: exact dicts, C calls, and no look-up twice.
        names, streams, origins = self._names.known, self._streams.known, self._origins.known
        events: list[RecordedEvent] = []
        append = events.append
        for position, stream, version, kind, time_ns, origin, seq, _, ids, data in rows:
            try:
                stream_id = streams[stream]
                type_name = names[kind]
                session_id, plan_id, task_id, writer_id = origins[origin]
            except KeyError:
                stream_id = streams.get(stream) or self._streams.fetch(connection, stream)
                type_name = names.get(kind) or self._names.fetch(connection, kind)
                found = origins.get(origin) or self._origins.fetch(connection, origin)
                session_id, plan_id, task_id, writer_id = found
            try:
                trace_id = span_id = parent_id = ""
                if ids is not None:
                    if type(ids) is bytes:
                        text = ids.hex()
                        if len(text) == _WITHOUT_SPAN:
                            trace_id, parent_id = text[:32], text[32:48]
                        else:
                            trace_id, span_id, parent_id = text[:32], text[32:48], text[48:]
                    else:
                        trace_id, span_id, parent_id = json.loads(ids)
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
            except (TypeError, AttributeError) as error:  # a number where text was, or the other way round
                raise StoreCorruptError(
                    f"cannot read event {version} of stream {stream_id!r} in '{self._url}': {error}; check the store "
                    "with sonde doctor"
                ) from None
        return events

    def _large(self, connection: apsw.Connection, place: int) -> dict[str, Any]:
        return decode_object(self._contents.expand(connection, place))
