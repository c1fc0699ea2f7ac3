"""Record: one event in an arena: length, checksum, number, and the event as MessagePack.

MessagePack and not JSON: bytes, NaN and keys that are no text come back as they were, so that recovery can sanitise
them as the persister would have. What even MessagePack cannot carry is sanitised first.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from sonde.events import PublishedEvent, sanitize

HEADER = Struct("<IIQ")
"""Bytes of MessagePack, CRC-32 over them that starts from the number, and the number itself."""

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


class _Journaled(msgspec.Struct):
    # As a PublishedEvent, but for what nobody has sanitised yet: keys of all kinds, or no dict at all.
    type: str
    time_ns: int = 0
    session_id: str = ""
    plan_id: str = ""
    task_id: str = ""
    data: Any = None
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    writer_id: str = ""
    seq: int = 0


_decode = msgspec.msgpack.Decoder(_Journaled).decode

_FIELDS_OF_TEXT = ("type", "session_id", "plan_id", "task_id", "trace_id", "span_id", "parent_id", "writer_id")


class Found(NamedTuple):
    """A record that was read back: the event's number, and its bytes."""

    seq: int
    payload: bytes


class Contents(NamedTuple):
    """What an arena holds; ``torn``: a last record that was not written to its end."""

    records: list[Found]
    torn: bool


def pack_record(event: PublishedEvent) -> bytes:
    """The event as it lies in an arena. Never raises for what ``data`` holds; some 0.6 µs.

    What MessagePack cannot carry costs a walk of the sanitiser, which may run a foreign object's ``__repr__``.

    >>> contents = read_records(pack_record(PublishedEvent("note.taken", seq=7, data={"raw": b"abc"})))
    >>> [(record.seq, unpack_event(record.payload).data) for record in contents.records]
    [(7, {'raw': b'abc'})]
    """
    try:
        payload = encode(event)
    except OUR_ERRORS:  # the sanitiser makes it readable
        payload = encode(_readable(event))
    return HEADER.pack(len(payload), crc32(payload, event.seq), event.seq) + payload


def unpack_event(payload: bytes) -> PublishedEvent:
    """The event of a record. Its data is not sanitised.

    Raises:
        msgspec.DecodeError: no event, or one of another release.
    """
    return PublishedEvent(*msgspec.structs.astuple(_decode(payload)))


def read_records(arena: bytes) -> Contents:
    """All whole records, from the beginning on. They lie without holes; what follows the last is zero, or torn.

    Nothing behind a damaged record is believed: arenas are used again, and what lies there may be of another time.
    """
    found: list[Found] = []
    start, size = 0, len(arena)
    while start + HEADER.size <= size:
        length, check, seq = HEADER.unpack_from(arena, start)
        if not length:
            return Contents(found, torn=bool(check or seq))
        end = start + HEADER.size + length
        if end > size:
            return Contents(found, torn=True)
        payload = arena[start + HEADER.size : end]
        if crc32(payload, seq & 0xFFFFFFFF) != check:
            return Contents(found, torn=True)
        found.append(Found(seq, payload))
        start = end
    return Contents(found, torn=any(arena[start:]))


def _readable(event: PublishedEvent) -> PublishedEvent:
    texts = {name: _text(getattr(event, name)) for name in _FIELDS_OF_TEXT}
    time_ns = event.time_ns if type(event.time_ns) is int and -(2**63) <= event.time_ns < 2**63 else 0
    return PublishedEvent(**texts, time_ns=time_ns, data=sanitize(event.data), seq=event.seq)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode() if value else ""
