"""Stretch: many rows of one stream as one value, column by column, compressed: a fifth of what they take as rows.

A row is a tuple of :data:`COLUMNS`, as the table ``events`` has it, and comes back as it was. As MessagePack::

    [zlib of MessagePack [position, version, type, time_ns, origin, seq, ids, data], what is too random to compress]

A column of numbers is one of them if all are equal, else a list: the first, then each one's distance from the one
before it (or, where 64 bits do not hold a distance, a list of lists of one).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import msgspec

Row = tuple[Any, ...]
"""Of an event: the values of :data:`COLUMNS`."""

COLUMNS: Final = "position, stream, version, type, time_ns, origin, seq, checksum, ids, data"
_POSITION, _STREAM, _VERSION, _TYPE, _TIME, _ORIGIN, _SEQ, _CHECKSUM, _IDS, _DATA = range(10)
_NUMBERS = (_POSITION, _STREAM, _VERSION, _TYPE, _TIME, _ORIGIN, _SEQ)

_LEVEL = 6
_MAX_BYTES = 1 << 28  # of a stretch that is no bomb; ours are a thousandth of it
_INT64 = range(-(2**63), 2**63)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def pack(rows: Sequence[Row]) -> bytes:
    """Rows, one at least, as one value. The GIL is released while zlib works."""
    columns = list(zip(*rows, strict=True))
    ids, random = _packed_ids(columns[_IDS])
    small = _encode([*[_packed_numbers(columns[index]) for index in _NUMBERS], ids, _packed_data(columns[_DATA])])
    checksums = struct.pack(f"<{len(rows)}i", *columns[_CHECKSUM])
    return _encode([zlib.compress(small, _LEVEL), checksums + random])


def unpack(packed: bytes) -> list[Row]:
    """The inverse of :func:`pack`.

    Raises:
        ValueError: it is damaged.
    """
    try:
        compressed, random = _decode(packed)
        inflating = zlib.decompressobj()
        small = inflating.decompress(compressed, _MAX_BYTES)
        if not inflating.eof:
            raise ValueError("it ends too early")
        *numbers, ids, data = _decode(small)
        count = len(data)
        position, stream, version, kind, time_ns, origin, seq = (_numbers(column, count) for column in numbers)
        checksums = struct.unpack_from(f"<{count}i", random)
        columns = (position, stream, version, kind, time_ns, origin, seq, checksums)
        return list(zip(*columns, _ids(ids, random, 4 * count, count), _data(data), strict=True))
    except (zlib.error, msgspec.MsgspecError, struct.error, IndexError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _packed_numbers(values: Sequence[int]) -> Any:
    first = values[0]
    if values.count(first) == len(values):
        return first
    distances = [following - value for value, following in pairwise(values)]
    if min(distances) in _INT64 and max(distances) in _INT64:
        return [first, *distances]
    return [[value] for value in values]


def _numbers(packed: Any, count: int) -> Sequence[int]:
    if type(packed) is int:
        return [packed] * count
    if type(packed[0]) is list:
        return [value for (value,) in packed]
    return list(accumulate(packed))


def _packed_ids(values: Sequence[Any]) -> tuple[Any, bytes]:
    """Trace, span and parent by their numbers in a pool of those that differ; the pool itself is random."""
    if not any(values):
        return None, b""
    odd = [(index, value) for index, value in enumerate(values) if value and type(value) is not bytes]
    blobs = [value if type(value) is bytes else b"" for value in values]
    thirds = ([blob[:16] for blob in blobs], [blob[16:24] for blob in blobs], [blob[24:] for blob in blobs])
    pool = sorted(dict.fromkeys(part for parts in zip(*thirds, strict=True) for part in parts), key=len)
    number = {part: index for index, part in enumerate(pool)}
    lengths = [len(part) for part in pool]
    indexes = [_packed_numbers([number[part] for part in parts]) for parts in thirds]
    return [*indexes, _packed_numbers(lengths), len(pool), odd], b"".join(pool)


def _ids(packed: Any, random: bytes, start: int, count: int) -> Sequence[Any]:
    if packed is None:
        return [None] * count
    *indexes, lengths, size, odd = packed
    ends = list(accumulate(_numbers(lengths, size), initial=start))
    if ends[-1] != len(random):
        raise ValueError("its ids are cut off")
    pool = [random[begin:end] for begin, end in pairwise(ends)]
    traces, spans, parents = ([pool[index] for index in _numbers(column, count)] for column in indexes)
    ids: list[Any] = [trace + span + parent or None for trace, span, parent in zip(traces, spans, parents, strict=True)]
    for index, value in odd:
        ids[index] = value
    return ids


def _packed_data(values: Sequence[Any]) -> list[Any]:
    """Texts as they are; places, which are the only numbers, as distances."""
    packed = list(values)
    last = 0
    for index, value in enumerate(values):
        if type(value) is int:
            packed[index] = value - last
            last = value
    return packed


def _data(packed: list[Any]) -> list[Any]:
    last = 0
    for index, value in enumerate(packed):
        if type(value) is int:
            packed[index] = last = last + value
    return packed
