"""Writing: records into rows, inside one transaction that the caller began and ends. Used under the write lock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from sonde.errors import EventEncodeError, WrongExpectedVersionError
from sonde.events import Event, Position, checksum, encode_data, sanitize
from sonde.store import identities
from sonde.store.contents import LARGE, ContentWriter
from sonde.store.contract import AppendResult, Durability, Record
from sonde.store.names import NameWriter, storable
from sonde.store.origins import OriginWriter
from sonde.store.rows import HEAD, LAST_POSITION, fetch

_COLUMNS = "position, stream, version, type, time_ns, origin, seq, checksum, ids, data"
_WIDTH = 10
# Rows go in as few multi-row statements: executemany takes the GIL back after each row, which beside a busy thread
# costs up to 5 ms each. Ten sizes, whose texts serve every batch and stay in apsw's statement cache, which
# keeps none longer than 16 kB: that bounds the largest.
_CHUNKS = (704, 256, 128, 64, 32, 16, 8, 4, 2, 1)
_ROW = f"({','.join('?' * _WIDTH)})"
_INSERTS = {size: f"INSERT INTO events({_COLUMNS})VALUES{','.join([_ROW] * size)}" for size in _CHUNKS}

_LAST_POSITION = f"SELECT max({LAST_POSITION}, (SELECT floor FROM retention))"
_STREAM = f"SELECT id, {HEAD} FROM streams WHERE name = ?"
_FORGOTTEN = "SELECT forgotten FROM retention"
_NEW_STREAM = "INSERT INTO streams (name) VALUES (?) RETURNING id"

_INT64_MAX = 2**63 - 1
_INT64_MIN = -(2**63)


class _Head:
    """A stream within one transaction: its number, and its last version so far."""

    __slots__ = ("first_given", "number", "version")

    def __init__(self, number: int, version: int) -> None:
        self.number = number
        self.version = version
        self.first_given = version + 1


def packed_ids(event: Event) -> bytes | str | None:
    """Trace, span and parent as one value: a blob in W3C's form, else a JSON array; ``None`` if all are empty.

    What has a parent and no span, as an event within an operation, gets a byte of zero at the end.
    """
    trace_id, span_id, parent_id = event.trace_id, event.span_id, event.parent_id
    if not (trace_id or span_id or parent_id):
        return None
    if len(trace_id) == 32 and len(span_id) in (0, 16) and len(parent_id) in (0, 16) and (span_id or parent_id):
        joined = trace_id + (span_id + parent_id if span_id else f"{parent_id}00")
        try:
            blob = bytes.fromhex(joined)
        except ValueError:
            blob = b""
        if blob.hex() == joined:
            return blob
    return json.dumps([trace_id, span_id, parent_id])


def _fitting(number: object) -> int:
    """A number that 64 bits hold: the nearest."""
    try:
        return min(max(int(number), _INT64_MIN), _INT64_MAX)  # type: ignore[call-overload, no-any-return]  # what is none raises
    except (TypeError, ValueError, OverflowError):  # no number, NaN, infinity
        return 0


def storable_event(event: Event) -> Event:
    """The event with names that SQLite can hold and a time of 64 bits: one odd event must not block a batch."""
    return Event(
        storable(event.type),
        _fitting(event.time_ns),
        storable(event.session_id or ""),
        storable(event.plan_id or ""),
        storable(event.task_id or ""),
        event.data,
        storable(event.trace_id or ""),
        storable(event.span_id or ""),
        storable(event.parent_id or ""),
    )


def _is_storable(record: Record) -> bool:
    event = record.event
    texts = (
        record.stream_id,
        record.writer_id,
        event.type,
        event.session_id,
        event.plan_id,
        event.task_id,
        event.trace_id,
        event.span_id,
        event.parent_id,
    )
    if type(event.time_ns) is not int or not _INT64_MIN <= event.time_ns <= _INT64_MAX:
        return False
    return all(storable(text) == text for text in texts)


def _storable_record(record: Record) -> Record:
    if type(record.seq) is not int or not _INT64_MIN <= record.seq <= _INT64_MAX:
        raise EventEncodeError(
            f"cannot append event with sequence number {record.seq!r}: expected a 64-bit integer; number events from 1"
        )
    if _is_storable(record):
        return record
    return Record(
        storable(record.stream_id),
        storable(record.writer_id),
        record.seq,
        storable_event(record.event),
        record.data_json,
    )


class Writing:
    """Turns records into rows. Holds what it may remember between transactions: the numbers of names."""

    def __init__(self, url: str, durability: Durability = Durability.COMMIT) -> None:
        self._url = url
        self.durability = durability
        self.names = NameWriter()
        self._origins = OriginWriter(self.names)
        self._contents = ContentWriter()
        self._forgotten = -1

    def settle(self, *, committed: bool) -> None:
        """The transaction is over: remember the numbers that it gave, or forget them."""
        self.names.settle(committed=committed)
        self._origins.settle(committed=committed)
        self._contents.settle(committed=committed)

    def append(
        self, connection: apsw.Connection, records: Sequence[Record], expected_version: int | None
    ) -> AppendResult:
        """Write in order; skip what is known. ``expected_version`` is for batches of one stream."""
        records = self._checked(records)
        self._forget(connection)
        heads: dict[str, _Head] = {}
        if expected_version is not None and records:
            self._expect(connection, records[0].stream_id, expected_version)
        known = self._known(connection, records)
        ((position,),) = fetch(connection, _LAST_POSITION)
        first_position = position
        duplicates = 0
        row_values: list[Any] = []
        large: list[int] = []  # where in them stands what becomes a place,
        texts: list[bytes] = []  # of these
        names, origins = self.names.known, self._origins.known
        head: _Head | None = None
        for record in records:
            stream_id, writer_id, seq = record.stream_id, record.writer_id, record.seq
            event, data_json = record.event, record.data_json
            if known is not None:
                skipped = known[writer_id]
                if seq in skipped:
                    duplicates += 1
                    continue
                skipped.add(seq)
            if data_json is None:
                data_json = encode_data(sanitize(event.data))
            head = heads.get(stream_id)
            if head is None:
                head = heads[stream_id] = self._head(connection, stream_id)
            head.version += 1
            position += 1
            key = (event.session_id, event.plan_id, event.task_id, writer_id)
            try:
                kind, origin = names[event.type], origins[key]
            except KeyError:
                kind = self.names.number(connection, str(event.type))
                origin = origins.get(key) or self._origins.intern(connection, key)
            check = checksum(event, data_json, writer_id, seq)
            stored: str | None = data_json.decode()  # refuses what is no text, large or small
            if stored == "{}":
                stored = None
            elif len(data_json) >= LARGE:
                texts.append(data_json)
                large.append(len(row_values) + _WIDTH - 1)
            row_values += (
                position,
                head.number,
                head.version,
                kind,
                event.time_ns,
                origin,
                seq,
                check - 0x1_0000_0000 if check > 0x7FFF_FFFF else check,  # signed: four bytes in a row, not six
                packed_ids(event) if event.trace_id or event.span_id or event.parent_id else None,
                stored,
            )
        if large:
            places = self._contents.store(connection, texts)
            for index, place in zip(large, places, strict=True):
                row_values[index] = place
        _insert(connection, row_values)
        if position == first_position or head is None:
            return AppendResult(0, 0, Position.START, self.durability, duplicates)
        return AppendResult(head.first_given, head.version, Position(position), self.durability, duplicates)

    def _forget(self, connection: apsw.Connection) -> None:
        """Let go of the numbers of names where retention, in any process, has removed some."""
        ((forgotten,),) = fetch(connection, _FORGOTTEN)
        if forgotten != self._forgotten:
            self.names.forget()
            self._origins.forget()
            self._forgotten = forgotten

    def _checked(self, records: Sequence[Record]) -> Sequence[Record]:
        """The records as they are if all can be stored, which is nearly always; else with the odd ones replaced.

        One attempt to encode everything at once is ten times cheaper than looking at each field.
        """
        try:
            "".join(
                [
                    text
                    for record in records
                    for event in (record.event,)
                    for text in (
                        record.stream_id,
                        record.writer_id,
                        event.type,
                        event.session_id,
                        event.plan_id,
                        event.task_id,
                        event.trace_id,
                        event.span_id,
                        event.parent_id,
                    )
                ]
            ).encode()
            numbers = [record.event.time_ns for record in records]
            numbers += [record.seq for record in records]
            if set(map(type, numbers)) == {int} and min(numbers) >= _INT64_MIN and max(numbers) <= _INT64_MAX:
                return records
        except (UnicodeEncodeError, TypeError):
            pass  # the odd ones are found one by one
        return [_storable_record(record) for record in records]

    def _known(self, connection: apsw.Connection, records: Sequence[Record]) -> dict[str, set[int]] | None:
        """Per writer what the store has already; ``None`` if all is new, so that the loop needs no look."""
        given: dict[str, set[int]] = {}
        for record in records:
            numbers = given.get(record.writer_id)
            if numbers is None:
                numbers = given[record.writer_id] = set()
            numbers.add(record.seq)
        any_known = sum(map(len, given.values())) < len(records)
        for writer_id, numbers in given.items():
            writer = self.names.known.get(writer_id)
            if writer is None:
                writer = self.names.intern(connection, writer_id)
            given[writer_id] = identities.remember(connection, writer, numbers)
            any_known = any_known or bool(given[writer_id])
        return given if any_known else None

    def _head(self, connection: apsw.Connection, stream_id: str) -> _Head:
        rows = fetch(connection, _STREAM, (stream_id,))
        if rows:
            return _Head(*rows[0])
        ((number,),) = fetch(connection, _NEW_STREAM, (stream_id,))
        return _Head(number, 0)

    def _expect(self, connection: apsw.Connection, stream_id: str, expected_version: int) -> None:
        rows = fetch(connection, _STREAM, (stream_id,))
        version = rows[0][1] if rows else 0
        if version != expected_version:
            raise WrongExpectedVersionError(
                f"cannot append to stream {stream_id!r} in '{self._url}': it is at version {version}, expected "
                f"{expected_version}; read what is new and append with expected_version={version}"
            )


def _insert(connection: apsw.Connection, row_values: list[Any]) -> None:
    start = 0
    left = len(row_values) // _WIDTH
    for size in _CHUNKS:
        while left >= size:
            end = start + size * _WIDTH
            connection.execute(_INSERTS[size], row_values[start:end])
            start = end
            left -= size
