"""Chunks: what has to look at text under the GIL looks at 64 kB of it at a time, so that no thread waits for more.

CPython hands the GIL over between two calls and never inside one: a search for a literal in 8 MB of hostile text holds
it for a tenth of a second. Patterns need no chunks, since google-re2 works without the GIL; joining and slicing are
copies, which cost a millisecond for 8 MB.
"""

from collections.abc import Iterator, Sequence

__all__ = ["CHUNK_BYTES", "decoded", "encoded", "lowered_chunks", "triggered"]

CHUNK_BYTES = 65_536
"""What one call under the GIL works on, at most (in characters where it works on a ``str``)."""


def encoded(text: str) -> bytes:
    r"""Return the text as UTF-8, lone surrogates included.

    >>> encoded("é\ud800")
    b'\xc3\xa9\xed\xa0\x80'
    """
    if len(text) <= CHUNK_BYTES:
        return text.encode("utf-8", "surrogatepass")
    starts = range(0, len(text), CHUNK_BYTES)
    return b"".join([text[start : start + CHUNK_BYTES].encode("utf-8", "surrogatepass") for start in starts])


def decoded(raw: bytes) -> str:
    r"""Return what ``encoded`` was given.

    >>> decoded(encoded("é\ud800" * 50_000)) == "é\ud800" * 50_000
    True
    """
    if len(raw) <= CHUNK_BYTES:
        return raw.decode("utf-8", "surrogatepass")
    pieces = []
    start = 0
    while start < len(raw):
        end = character_start(raw, min(start + CHUNK_BYTES, len(raw)))
        pieces.append(raw[start:end].decode("utf-8", "surrogatepass"))
        start = end
    return "".join(pieces)


def character_start(raw: bytes, position: int) -> int:
    """Return the nearest position at or before this one at which a character of the UTF-8 text begins.

    >>> character_start("aé".encode(), 2)
    1
    """
    while position < len(raw) and raw[position] & 0xC0 == 0x80:
        position -= 1
    return position


def lowered_chunks(raw: bytes, overlap_bytes: int) -> Iterator[str]:
    """Yield the text in lower case (ASCII), a character a byte, in pieces that share ``overlap_bytes``.

    A ``str``, since ``in`` finds a short text in it four times as fast as in ``bytes``.

    >>> list(lowered_chunks(b"AbC", 2))
    ['abc']
    """
    if len(raw) <= CHUNK_BYTES:
        yield raw.lower().decode("latin-1")
        return
    for start in range(0, len(raw), CHUNK_BYTES - overlap_bytes):
        yield raw[start : start + CHUNK_BYTES].lower().decode("latin-1")


def triggered(raw: bytes, triggers: Sequence[tuple[str, int]], overlap_bytes: int) -> list[int]:
    """Return the numbers of those (literal, number) pairs whose literal is in the text, each once, in order.

    ``overlap_bytes`` is the length of the longest literal less one.

    >>> triggered(b"x KEY-1", [("key-", 7), ("sk-", 8), ("y-1", 7)], 3)
    [7]
    """
    if len(raw) <= CHUNK_BYTES:
        lowered = raw.lower().decode("latin-1")
        return list(dict.fromkeys([number for literal, number in triggers if literal in lowered]))
    missing = list(triggers)
    found: set[int] = set()
    for chunk in lowered_chunks(raw, overlap_bytes):
        found.update([number for literal, number in missing if literal in chunk])
        missing = [trigger for trigger in missing if trigger[1] not in found]
        if not missing:
            break
    return list(dict.fromkeys([number for _, number in triggers if number in found]))
