"""Transliteration: what a stream that is no UTF-8 gets in place of the characters that it cannot carry."""

from __future__ import annotations

import codecs
import io
from typing import TextIO

_HANDLER = "sonde.transliterate"
_DEFAULT_HANDLERS = frozenset({"strict", "surrogateescape", "backslashreplace"})

# One for one, so that tables stay aligned.
_PLAIN = str.maketrans(
    "·…⋯⏎≥µ✓✗⊘●⚠×–—−│├└─╰╭▁▂▃▄▅▆▇█▏▎▍▌▋▊▉→",
    "-..|>uvxo*!x---|+`-`+:-=+*#%@#######>",
)


def _transliterated(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(char if char.isascii() else "?" for char in text), error.end


codecs.register_error(_HANDLER, _transliterated)


def transliterate(stream: TextIO) -> None:
    """Let a stream write what its encoding has not as the nearest ASCII character, ``?`` where there is none.

    UTF-8 streams, and those for which the user chose an error handler, stay as they are. Without this, Python fails at
    the first ``·``.

    >>> raw = io.BytesIO()
    >>> stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    >>> transliterate(stream)
    >>> print("✓ tool · 4 µs ≥ 日", file=stream, flush=True)
    >>> raw.getvalue()
    b'v tool - 4 us > ?\\n'
    """
    is_utf = (stream.encoding or "").lower().replace("_", "-").startswith("utf")
    if isinstance(stream, io.TextIOWrapper) and not is_utf and stream.errors in _DEFAULT_HANDLERS:
        stream.reconfigure(errors=_HANDLER)
