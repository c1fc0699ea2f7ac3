"""Mending: of a damaged block of large data, the pieces before the damage.

What follows them becomes zero, which the checksum of every event that needs it finds.
"""

from __future__ import annotations

import zlib

from sonde.store.block import Entry, pack, unpack

_STEP_BYTES = 16
_MAX_BYTES = 1 << 26


def mended(block: bytes) -> tuple[bytes, bool]:
    """A block that can be read, and whether it is as it was written; empty if nothing of it can be read."""
    try:
        unpack(block)
    except ValueError:
        pass
    else:
        return block, True
    raw = _inflated(block)
    try:
        sizes, at = _sizes(raw)
    except IndexError:
        return b"", False
    end = at + sum(size >> 2 for size in sizes)
    if not sizes or end > _MAX_BYTES:
        return b"", False
    raw = raw[:end].ljust(end, b"\0")
    entries = []
    for size in sizes:
        entries.append(Entry(size & 3, raw[at : at + (size >> 2)]))
        at += size >> 2
    return pack(entries, level=1), False


def _inflated(block: bytes) -> bytes:
    inflating = zlib.decompressobj()
    found = bytearray()
    try:
        for start in range(0, len(block), _STEP_BYTES):
            found += inflating.decompress(block[start : start + _STEP_BYTES], _MAX_BYTES)
            if inflating.eof or len(found) > _MAX_BYTES:
                break
    except zlib.error:
        pass  # what came before it is what we want
    return bytes(found)


def _sizes(raw: bytes) -> tuple[list[int], int]:
    """What stands before the entries: length and kind of each. And where they begin."""
    count, at = _number(raw, 0)
    sizes = []
    for _ in range(count):
        size, at = _number(raw, at)
        sizes.append(size)
    return sizes, at


def _number(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := raw[at]) > 0x7F:
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return number | byte << shift, at + 1
