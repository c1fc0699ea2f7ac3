"""Cutting: canonical JSON into pieces that are the same wherever the same is said.

Where a cut is made depends only on what stands before it and right at it. So a list of messages that grows at its end
is cut as before, plus the new; and an equal text in another event, of another process, is an equal piece. A list's
pieces are gathered into nodes, again by what they say: a list of 400 that has grown by two costs a few new references.

What the pieces make up is the very bytes that came in, whatever they are: structure only says where to cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

import msgspec

from sonde.store.piece import Part, Piece, digest_of_parts, digest_of_text

SMALLEST = 256
"""Bytes from which a value is a piece of its own: below, finding it again costs more than it saves."""
_LOOSE = 1_024  # what lies between pieces becomes one when it is as long as this
_CHUNK_MIN, _CHUNK_MAX = 1_024, 4_096
_ANCHOR = 15  # one line in 16 may end a chunk
_NODE_MIN, _NODE_MAX = 4, 32
_NODE_END = 7  # one piece in 8 may end a node
_WIDEST = 64  # parts of an event's data; where there are more, they are gathered into nodes
_DEEPEST = 8  # below, JSON is text: each level is looked through once more
_TINY = 24  # lists of values shorter than this, on average, are text: numbers
_REMEMBERED_FROM = 4_096
_ARRAYS_KEPT = 16
_ARRAYS_KEPT_BYTES = 8 * 1024 * 1024
PIECES_KEPT = 16_384

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_key = msgspec.json.Encoder().encode


class _Parts:
    """Parts in the making. With ``node``, what lies behind is gathered into nodes as it comes."""

    __slots__ = ("closed", "loose", "loose_bytes", "node", "open", "text")

    def __init__(self, text: Callable[[bytes], Piece], node: Callable[[Sequence[Part]], Piece] | None = None) -> None:
        self.text = text
        self.node = node
        self.closed: list[Part] = []
        self.open: list[Part] = []
        self.loose: list[bytes] = []
        self.loose_bytes = 0

    def copy(self) -> _Parts:
        twin = _Parts(self.text, self.node)
        twin.closed, twin.open, twin.loose = self.closed.copy(), self.open.copy(), self.loose.copy()
        twin.loose_bytes = self.loose_bytes
        return twin

    def add(self, text: bytes) -> None:
        self.loose.append(text)
        self.loose_bytes += len(text)
        if self.loose_bytes >= _LOOSE:
            whole = b"".join(self.loose)
            self.loose, self.loose_bytes = [], 0
            self.add_text(whole)

    def add_text(self, text: bytes) -> None:
        if len(text) <= _CHUNK_MAX:
            self.add_piece(self.text(text))
            return
        for chunk in chunks(text):
            self.add_piece(self.text(chunk))

    def add_piece(self, piece: Piece) -> None:
        if self.loose:
            self.open.append(b"".join(self.loose))
            self.loose, self.loose_bytes = [], 0
        self.open.append(piece)
        if self.node is not None and ends_node(piece, len(self.open)):
            self.closed.append(self.node(self.open))
            self.open = []

    def add_all(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, Piece):
                self.add_piece(part)
            else:
                self.add(part)

    def result(self) -> list[Part]:
        if self.loose:
            return [*self.closed, *self.open, b"".join(self.loose)]
        return self.closed + self.open


def ends_node(piece: Piece, size: int) -> bool:
    """Whether a node of ``size`` parts ends with this piece: a matter of the piece alone, within bounds."""
    return size >= _NODE_MAX or (size >= _NODE_MIN and not piece.digest[0] & _NODE_END)


def chunks(text: bytes) -> Iterator[bytes]:
    """A long text in chunks of 1 to 4 kB, which end with lines that say so themselves.

    A text that grows keeps its chunks, and one that was changed in the middle finds back to them a little behind.

    >>> text = b"".join(rb"line %d\\n" % number for number in range(2_000))
    >>> b"".join(chunks(text)) == text
    True
    >>> len(set(chunks(text)) - set(chunks(b"new" + text)))
    1
    """
    start, size = 0, len(text)
    while size - start > _CHUNK_MAX:
        end = _line_that_ends(text, start + _CHUNK_MIN, start + _CHUNK_MAX) or start + _CHUNK_MAX
        yield text[start:end]
        start = end
    yield text[start:]


def _line_that_ends(text: bytes, low: int, high: int) -> int:
    line = text.find(rb"\n", low, high) + 2  # a newline as JSON has it; what lies before the first is half a line
    while line > 1:
        end = text.find(rb"\n", line, high) + 2
        if end <= 1 or end > high:
            return 0
        if not crc32(text[line:end]) & _ANCHOR:
            return end
        line = end
    return 0


class Cutter:
    """Cuts canonical JSON, and remembers what it has cut. Not thread-safe: used under the write lock.

    ``fresh`` are the pieces that have been made since :meth:`settle`; whether the store has them is not known here.
    Cutting 250 kB of which 245 came before costs some 0.15 ms, nearly all of it msgspec's walk over the text; memory is
    some 4 MB for pieces, and 8 MB for the lists that were seen last.
    """

    def __init__(self) -> None:
        self.fresh: list[Piece] = []
        self._known: dict[bytes, Piece] = {}
        self._cut: dict[bytes, list[Part]] = {}  # elements of lists, by digest
        self._arrays: list[tuple[bytes, _Parts]] = []  # without their closing bracket, the latest first

    def cut(self, text: bytes) -> list[Part]:
        """The parts of a JSON text: few, whatever its size."""
        parts = _Parts(self._piece)
        self._add_value(parts, text, 0)
        found = parts.result()
        while len(found) > _WIDEST:
            gathered = self._gathered(found)
            if len(gathered) >= len(found):
                break
            found = gathered
        return found

    def settle(self, *, committed: bool) -> None:
        """The transaction is over: let go of texts that are stored, or forget all that was learned."""
        if not committed or len(self._known) > PIECES_KEPT or len(self._cut) > PIECES_KEPT:
            self.forget()
            return
        for piece in self.fresh:
            if piece.place is not None:
                piece.text, piece.parts = b"", ()
        self.fresh = []

    def forget(self) -> None:
        """Start anew: pieces may have gone from the store."""
        self.fresh = []
        self._known = {}
        self._cut = {}
        self._arrays = []

    def _piece(self, text: bytes) -> Piece:
        digest = digest_of_text(text)
        piece = self._known.get(digest)
        if piece is None:
            piece = self._known[digest] = Piece(digest, text=text)
            self.fresh.append(piece)
        return piece

    def _node(self, parts: Sequence[Part]) -> Piece:
        digest = digest_of_parts(parts)
        piece = self._known.get(digest)
        if piece is None:
            piece = self._known[digest] = Piece(digest, parts=parts)
            self.fresh.append(piece)
        return piece

    def _gathered(self, parts: Sequence[Part]) -> list[Part]:
        gathering = _Parts(self._piece, self._node)
        gathering.add_all(parts)
        return gathering.result()

    def _add_value(self, parts: _Parts, value: Any, depth: int) -> None:
        if len(value) < SMALLEST:
            parts.add(bytes(value))
            return
        text = bytes(value)
        if depth < _DEEPEST and (
            (text.startswith(b"{") and self._add_object(parts, text, depth))
            or (text.startswith(b"[") and self._add_array(parts, text, depth))
        ):
            return
        parts.add_text(text)

    def _add_object(self, parts: _Parts, text: bytes, depth: int) -> bool:
        """Whether it could be taken apart: it is canonical if no byte is left over."""
        try:
            fields = [(_key(key) + b":", value) for key, value in _fields(text).items()]
        except (ValueError, RecursionError):
            return False
        if sum([len(key) + len(value) + 1 for key, value in fields]) + 1 != len(text):
            return False
        before = b"{"
        for key, value in fields:
            parts.add(before + key)
            self._add_value(parts, value, depth + 1)
            before = b","
        parts.add(b"}")
        return True

    def _add_array(self, parts: _Parts, text: bytes, depth: int) -> bool:
        so_far, rest = self._seen(text) if len(text) >= _REMEMBERED_FROM else (None, text)
        try:
            elements = _elements(rest) if rest else []
        except (ValueError, RecursionError):
            return False
        if rest and sum([len(element) for element in elements]) + len(elements) + 1 != len(rest):
            return False
        if so_far is None:
            if len(elements) * _TINY > len(text):
                return False
            so_far, before = _Parts(self._piece, self._node), b"["
        else:
            before = b","
        for element in elements:
            so_far.add(before)
            before = b","
            if len(element) < SMALLEST:
                so_far.add(bytes(element))
            else:
                so_far.add_all(self._element(element, depth + 1))
        if len(text) >= _REMEMBERED_FROM:
            self._remember(text[:-1], so_far.copy())
        so_far.add(b"]")
        parts.add_all(so_far.result())
        return True

    def _element(self, element: Any, depth: int) -> list[Part]:
        digest = digest_of_text(element)
        found = self._cut.get(digest)
        if found is None:
            parts = _Parts(self._piece)
            self._add_value(parts, element, depth)
            found = self._cut[digest] = parts.result()
        return found

    def _seen(self, text: bytes) -> tuple[_Parts | None, bytes]:
        """What is known of a list that begins as this one does, and the rest as a list: one comparison of memory."""
        for number, (begin, so_far) in enumerate(self._arrays):
            if text.startswith(begin) and text[len(begin)] in b",]":
                del self._arrays[number]  # it comes back with what is new; a list that branches is cut once more
                rest = text[len(begin) + 1 :]
                return so_far, b"[" + rest if rest else b""
        return None, text

    def _remember(self, begin: bytes, parts: _Parts) -> None:
        self._arrays.insert(0, (begin, parts))
        while len(self._arrays) > _ARRAYS_KEPT or (
            len(self._arrays) > 1 and sum([len(begin) for begin, _ in self._arrays]) > _ARRAYS_KEPT_BYTES
        ):
            self._arrays.pop()
