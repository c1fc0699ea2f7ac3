"""Piece: a stretch of text, or a list of them, that a store keeps once, known by the hash of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

DIGEST_BYTES = 16


class Piece:
    """One piece. ``text`` or ``parts`` are there until it is stored; from then on ``place`` is.

    A piece with parts, a *node*, says what its parts say one behind the other.
    """

    __slots__ = ("digest", "parts", "place", "text")

    def __init__(self, digest: bytes, *, text: bytes = b"", parts: Sequence[Part] = ()) -> None:
        self.digest = digest
        self.text = text
        self.parts = parts
        self.place: int | None = None


Part = bytes | Piece
"""What a node or an event's data is made of: text that is too short to be shared, or a piece."""


def digest_of_text(text: bytes) -> bytes:
    """By which a text is found again. Above 2 kB the GIL is released."""
    return blake2b(text, digest_size=DIGEST_BYTES).digest()


def digest_of_parts(parts: Sequence[Part]) -> bytes:
    """By which a node is found again: made of its parts' digests, so that it says nothing of where they lie."""
    said = b"".join(
        b"\1" + part.digest if isinstance(part, Piece) else b"\0%d:%b" % (len(part), part) for part in parts
    )
    return blake2b(said, digest_size=DIGEST_BYTES, person=b"node").digest()
