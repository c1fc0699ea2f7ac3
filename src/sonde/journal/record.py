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
WIPING = HEADER.pack(0, 0xFFFFFFFF)
"""Where a segment begins while it is wiped. A kill may leave any part of it, and all of it was committed."""

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
_HOLE = bytes(2)  # pieces of 16 or 32 bytes are copied, and overlap: of one that is missing little may be seen
_FIRST_BYTE, _LAST_BYTE = b"\x9b", b"\xc3"  # an array of eleven values, of which the last is true

_decode = msgspec.msgpack.Decoder(tuple[str, int, str, str, str, Any, str, str, str, int, bool]).decode


class Contents(NamedTuple):
    """What a segment of an arena holds.

    Attributes:
        records: those that are whole.
        torn: whether the last one was not written to its end, so that its ``emit`` had not returned.
        damaged: places where there was a record that cannot be read: the medium, or somebody, changed it.
    """

    records: list[bytes]
    torn: bool
    damaged: int


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


def read_records(segment: bytes) -> Contents:
    """All whole records. They lie without holes from the beginning on; what follows the last is zero.

    A record that a kill cut off is the last one, and its last byte is zero; or it has a hole, at its beginning even,
    since processors copy in an order of their own. What else cannot be read is damage: then any record behind it is
    believed that has its checksum. It may be of another time, when the segment was used before; but an event that is in
    the store already is known by its number.
    """
    found: list[bytes] = []
    torn, damaged = False, 0
    start, written = 0, len(segment.rstrip(b"\0"))
    if segment.startswith(WIPING):
        start = _next_record(segment, len(WIPING), written)
    while start < written:
        record = _record_at(segment, start)
        if record is not None:
            found.append(record)
            start += HEADER.size + len(record)
            continue
        begin = start + HEADER.size
        end = begin if begin >= written else begin + HEADER.unpack_from(segment, start)[0]
        is_cut = begin >= written or written < end <= len(segment)
        if is_cut and segment[written - 1 : written] != _LAST_BYTE:
            torn = True
            break
        is_length_sound = begin < end == written or _record_at(segment, end) is not None
        following = end if is_length_sound else _next_record(segment, start + 1, written)
        is_begun = segment[begin : begin + 1] in (_FIRST_BYTE, b"\0")
        is_ended = segment[written - 1 : written] == _LAST_BYTE and _HOLE not in segment[begin:written]
        if following >= written and is_begun and not is_ended:
            torn = True
        else:
            damaged += 1
        start = following
    return Contents(found, False, 0) if segment.startswith(WIPING) else Contents(found, torn, damaged)


def _record_at(segment: bytes, start: int) -> bytes | None:
    """The payload of the record there; ``None`` if there is none that is whole."""
    begin = start + HEADER.size
    if begin > len(segment):
        return None
    length, check = HEADER.unpack_from(segment, start)
    if not length or begin + length > len(segment):
        return None
    payload = segment[begin : begin + length]
    return payload if crc32(payload) == check else None


def _next_record(segment: bytes, start: int, end: int) -> int:
    """Where the next whole record begins, or ``end``. Sums up only what looks like one, since sums take time."""
    while True:
        at = segment.find(_FIRST_BYTE, start + HEADER.size, end) - HEADER.size
        if at < 0:
            return end
        stop = at + HEADER.size + HEADER.unpack_from(segment, at)[0]
        if stop <= end and segment[stop - 1 : stop] == _LAST_BYTE and _record_at(segment, at) is not None:
            return at
        start = at + 1


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
        True,  # so that the last byte is none that memory has by itself: see read_records
    )


def _readable(event: PublishedEvent) -> tuple[Any, ...]:
    return tuple(
        sanitize(value) if value is event.data else value if isinstance(value, int) else _text(value)
        for value in _fields(event)
    )


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode() if value else ""
