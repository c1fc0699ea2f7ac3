"""Record: one event in an arena: length, checksum, and the event as MessagePack.

MessagePack and not JSON: bytes, NaN and keys that are no text come back as they were, so that recovery can sanitise
them as the persister would have. What even MessagePack cannot carry is sanitised first.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from sonde.events import PublishedEvent, sanitize

HEADER = Struct("<II")
"""Bytes of MessagePack, and the CRC-32 over them."""

# What encoding, an empty list or a closed file raise. Not ``Exception``: what a signal handler raises in the middle of
# an ``emit`` is its own program's.
OUR_ERRORS = (
    TypeError,
    ValueError,
    OverflowError,
    AttributeError,
    LookupError,
    RecursionError,
    MemoryError,
    msgspec.MsgspecError,
)

encode = msgspec.msgpack.Encoder().encode


_decode = msgspec.msgpack.Decoder(tuple[str, int, str, str, str, Any, str, str, str, int]).decode


class Contents(NamedTuple):
    """What an arena holds; ``torn``: a last record that was not written to its end."""

    records: list[bytes]
    torn: bool


def pack_record(event: PublishedEvent) -> bytes:
    """The event as it lies in an arena. Never raises for what ``data`` holds; some 0.6 µs.

    What MessagePack cannot carry costs a walk of the sanitiser, which may run a foreign object's ``__repr__``.

    >>> contents = read_records(pack_record(PublishedEvent("note.taken", seq=7, data={"raw": b"abc"})))
    >>> [(event.seq, event.data) for event in (unpack_event(record, "w") for record in contents.records)]
    [(7, {'raw': b'abc'})]
    """
    try:
        payload = encode(_fields(event))
    except OUR_ERRORS:  # the sanitiser makes it readable
        payload = encode(_readable(event))
    return HEADER.pack(len(payload), crc32(payload)) + payload


def unpack_event(record: bytes, writer_id: str) -> PublishedEvent:
    """The event of a record. Its data is not sanitised.

    Raises:
        msgspec.DecodeError: no event, or one of another release.
    """
    fields = _decode(record)
    return PublishedEvent(*fields[:9], writer_id, fields[9])


def read_records(arena: bytes) -> Contents:
    """All whole records, from the beginning on. They lie without holes; what follows the last is zero, or torn.

    Nothing behind a damaged record is believed: arenas are used again, and what lies there may be of another time.
    """
    found: list[bytes] = []
    start, size = 0, len(arena)
    while start + HEADER.size <= size:
        length, check = HEADER.unpack_from(arena, start)
        if not length:
            return Contents(found, torn=bool(check))
        end = start + HEADER.size + length
        if end > size:
            return Contents(found, torn=True)
        payload = arena[start + HEADER.size : end]
        if crc32(payload) != check:
            return Contents(found, torn=True)
        found.append(payload)
        start = end
    return Contents(found, torn=any(arena[start:]))


def _fields(event: PublishedEvent) -> tuple[Any, ...]:
    # By position, and without the writer, whom the mark names: half the bytes to sum up and to store.
    return (
        event.type,
        event.time_ns,
        event.session_id,
        event.plan_id,
        event.task_id,
        event.data,
        event.trace_id,
        event.span_id,
        event.parent_id,
        event.seq,
    )


def _readable(event: PublishedEvent) -> tuple[Any, ...]:
    return tuple(
        sanitize(value) if value is event.data else value if type(value) is int else _text(value)
        for value in _fields(event)
    )


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode() if value else ""
