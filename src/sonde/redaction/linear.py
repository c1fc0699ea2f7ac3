"""The one place that touches google-re2: a typed seam over byte patterns with linear time.

google-re2 releases the GIL while it matches bytes, so a scan of many megabytes stops no other thread. The price is
one GIL hand-over per search: 0.6 to 1.2 µs when idle, 0.2 to 1 ms beside a CPU-bound thread. Callers therefore search
large joined texts with few calls, and test small ones for literals (``str in str``, no hand-over) before any search.
"""

from typing import Protocol, cast

import re2  # type: ignore[import-not-found,import-untyped,unused-ignore]  # ships no stubs

__all__ = ["ByteMatch", "BytePattern", "compile_bytes"]


class ByteMatch(Protocol):
    """The part of a match that rules use; offsets are bytes."""

    def start(self, group: int = 0) -> int:
        """Return where the group begins, -1 if it took no part."""

    def end(self, group: int = 0) -> int:
        """Return where the group ends, -1 if it took no part."""

    def group(self, group: int = 0) -> bytes | None:
        """Return what the group matched."""


class BytePattern(Protocol):
    """A compiled byte pattern; safe to share between threads."""

    def search(self, text: bytes, pos: int | None = None, endpos: int | None = None) -> ByteMatch | None:
        """Return the leftmost match from ``pos`` on, without the GIL while it looks."""


def compile_bytes(source: bytes) -> BytePattern:
    r"""Compile a pattern that sees single bytes: ``.`` and ``[^x]`` match one byte, case folding is ASCII only.

    Thread-safety: the result is immutable and shared freely. Cost: some 0.1 to 5 ms, once. Errors: ``re2.error`` for a
    pattern outside RE2's syntax.

    >>> match = compile_bytes(rb"(?i)key-[0-9a-f]{4}").search(b"a KEY-00ff b")
    >>> match is not None and (match.start(), match.end())
    (2, 10)
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 32 << 20
    options.log_errors = False
    return cast(BytePattern, re2.compile(source, options))
