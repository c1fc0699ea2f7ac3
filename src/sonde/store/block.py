"""Block: the pieces of a transaction, packed together so that compression sees them together.

A *place* names a piece: its block and its number therein. Compressed, a block is::

    varint  number of entries
    varint  for each: length in bytes << 2 | kind
    bytes   the entries

A text is itself. A node is its digest, then a recipe; a root, the data of an event, is a recipe. A recipe is a row of::

    varint  length << 1, then so many bytes: text
    varint  how many blocks ago << 1 | 1, varint number in that block: a piece

A recipe only refers to what was written before it, so it always ends, and a damaged one that doesn't is found.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sonde.store.piece import DIGEST_BYTES, Part, Piece

TEXT, NODE, ROOT = 0, 1, 2

_NUMBER_BITS = 16
MAX_ENTRIES = 1 << _NUMBER_BITS
_MAX_BYTES = 1 << 28  # of a block that is no bomb; ours are a thousandth of it


class Entry(NamedTuple):
    """One piece in a block."""

    kind: int
    body: bytes

    @property
    def recipe(self) -> bytes:
        """Of a node or a root."""
        return self.body[DIGEST_BYTES:] if self.kind == NODE else self.body


def place_of(block: int, number: int) -> int:
    """Block and number as one integer."""
    return block << _NUMBER_BITS | number


def block_of(place: int) -> int:
    """The block of a place."""
    return place >> _NUMBER_BITS


def number_of(place: int) -> int:
    """The number within the block of a place."""
    return place & (MAX_ENTRIES - 1)


def pack(entries: Sequence[Entry], *, level: int) -> bytes:
    """Entries as a block. The GIL is released while zlib works."""
    head = bytearray(varint(len(entries)))
    for kind, body in entries:
        head += varint(len(body) << 2 | kind)
    return zlib.compress(b"".join([head, *[body for _, body in entries]]), level)


def unpack(block: bytes) -> list[Entry]:
    """The inverse of :func:`pack`.

    Raises:
        ValueError: it is damaged.
    """
    return entries_of(inflate(block))


def inflate(block: bytes) -> bytes:
    """A block as it is without compression.

    Raises:
        ValueError: it is damaged.
    """
    inflating = zlib.decompressobj()
    try:
        raw = inflating.decompress(block, _MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflating.eof:
        raise ValueError("it ends too early")
    return raw


def entries_of(raw: bytes) -> list[Entry]:
    """The entries of a block that was inflated.

    Raises:
        ValueError: it is damaged.
    """
    count, at = read_varint(raw, 0)
    sizes = []
    for _ in range(count):
        size, at = read_varint(raw, at)
        sizes.append(size)
    entries = []
    for size in sizes:
        end = at + (size >> 2)
        entries.append(Entry(size & 3, raw[at:end]))
        at = end
    if at != len(raw):
        raise ValueError(f"its entries make up {at} bytes, it has {len(raw)}")
    return entries


def recipe(parts: Sequence[Part], block: int) -> bytes:
    """Parts, all pieces of which have places, as an entry of ``block`` has them."""
    made = bytearray()
    for part in parts:
        if isinstance(part, Piece):
            place = part.place or 0
            made += varint((block - block_of(place)) << 1 | 1)
            made += varint(number_of(place))
        else:
            made += varint(len(part) << 1)
            made += part
    return bytes(made)


def parts_of(recipe: bytes, block: int) -> Iterator[bytes | int]:
    """What a recipe of ``block`` is made of: texts, and places of pieces.

    Raises:
        ValueError: it is damaged.
    """
    at, size = 0, len(recipe)
    while at < size:
        head, at = read_varint(recipe, at)
        if head & 1:
            number, at = read_varint(recipe, at)
            if number >= MAX_ENTRIES or head >> 1 > block:
                raise ValueError("a reference leads nowhere")
            yield place_of(block - (head >> 1), number)
            continue
        end = at + (head >> 1)
        if end > size:
            raise ValueError("a text ends too early")
        yield recipe[at:end]
        at = end


def neighbours(entries: Sequence[Entry], block: int) -> set[int]:
    """The other blocks that a block refers to."""
    return {
        block_of(part)
        for entry in entries
        if entry.kind != TEXT
        for part in parts_of(entry.recipe, block)
        if type(part) is int
    } - {block}


def varint(number: int) -> bytes:
    """A number that is not negative, seven bits a byte, the low ones first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def read_varint(text: bytes, at: int) -> tuple[int, int]:
    """The inverse of :func:`varint`, and where it ends.

    Raises:
        ValueError: it is cut off.
    """
    number = shift = 0
    try:
        while (byte := text[at]) > 0x7F:
            number |= (byte & 0x7F) << shift
            shift += 7
            at += 1
    except IndexError:
        raise ValueError("a number ends too early") from None
    return number | byte << shift, at + 1
