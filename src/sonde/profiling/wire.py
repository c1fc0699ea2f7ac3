"""Wire: the few parts of the protobuf encoding that a profile needs, written and read.

A dependency on protobuf would be larger than all of this room. Source: the Protocol Buffers encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK_64 = (1 << 64) - 1
_MAX_VARINT_BYTES = 10


def varint(value: int) -> bytes:
    """An integer of 64 bits, seven bits a byte, the lowest first; negative ones as their two's complement.

    >>> varint(300).hex(), len(varint(-1))
    ('ac02', 10)
    """
    if 0 <= value < 0x80:
        return bytes((value,))
    value &= _MASK_64
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


class Message:
    """A message while it is written. Zeros and empty texts are left out, as proto3 does. For one thread."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def integer(self, field: int, value: int) -> None:
        """An ``int64``, ``uint64`` or ``bool``."""
        if value:
            self._parts.append(varint(field << 3 | _VARINT) + varint(value))

    def integers(self, field: int, values: Iterable[int]) -> None:
        """A packed repeated ``int64``; zeros stay, since they have a place."""
        packed = b"".join(map(varint, values))
        if packed:
            self._parts.append(varint(field << 3 | _BYTES) + varint(len(packed)) + packed)

    def block(self, field: int, content: bytes) -> None:
        """A text as UTF-8, or a message; an empty one is written too, since in a repeated field it has a place."""
        self._parts.append(varint(field << 3 | _BYTES) + varint(len(content)) + content)

    def encode(self) -> bytes:
        """All that was written."""
        return b"".join(self._parts)


def fields_of(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field, in order: integers as unsigned, texts and messages as bytes.

    Raises:
        ValueError: these bytes are no message.
    """
    at, end = 0, len(content)
    while at < end:
        key, at = _read_varint(content, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(content, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind} at byte {at}")
        if at + size > end:
            raise ValueError(f"a field of {size} bytes at byte {at} of {end}")
        yield key >> 3, content[at : at + size]
        at += size


def integers_in(value: int | bytes) -> list[int]:
    """The integers of a repeated field, packed or not, as signed.

    Raises:
        ValueError: these bytes are no integers.
    """
    if isinstance(value, int):
        return [signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _read_varint(value, at)
        numbers.append(signed(number))
    return numbers


def signed(value: int) -> int:
    """An unsigned integer of 64 bits as the signed one that it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_MAX_VARINT_BYTES):
        if at >= len(content):
            break
        digit = content[at]
        at += 1
        value |= (digit & 0x7F) << 7 * place
        if digit < 0x80:
            return value & _MASK_64, at
    raise ValueError(f"an integer that does not end at byte {at}")
