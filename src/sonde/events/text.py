"""Text that JSON and every store can carry: no NUL, no lone surrogate."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNFIT = re.compile("[\0\ud800-\udfff]")
_CHUNK_CHARS = 65_536
"""What one call works on, at most: none of them lets another thread have the interpreter before it is done."""


def is_clean(text: str) -> bool:
    """Whether ``text`` (an exact ``str``) has neither a NUL nor a lone surrogate. Some 50 ns for ASCII."""
    if "\0" in text:
        return False
    if not text.isascii():
        try:
            for chunk in _chunks(text):
                chunk.encode()  # a third of the time of a search for surrogates
        except UnicodeEncodeError:
            return False
    return True


def clean_text(text: str, limit: int | None = None) -> str:
    """``text`` with NULs and lone surrogates as visible escapes, cut to ``limit`` characters (marked by ``…``).

    >>> clean_text("a\\0b")
    'a\\\\u0000b'
    """
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"
    return "".join([_UNFIT.sub(lambda match: f"\\u{ord(match[0]):04x}", chunk) for chunk in _chunks(text)])


def _chunks(text: str) -> Sequence[str]:
    if len(text) <= _CHUNK_CHARS:
        return (text,)
    return [text[start : start + _CHUNK_CHARS] for start in range(0, len(text), _CHUNK_CHARS)]
