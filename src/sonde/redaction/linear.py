"""The one place that touches google-re2: a typed seam over byte patterns with linear time.

google-re2 releases the GIL while it matches bytes, so a scan of many megabytes stops no other thread. The price is
one GIL hand-over per search: 0.6 to 1.2 µs when idle, 0.2 to 1 ms beside a CPU-bound thread. Callers therefore search
large joined texts with few calls, and test small ones for literals (``str in str``, no hand-over) before any search.

A fork must not meet a search: RE2 holds locks of its own while it builds its automaton, without the GIL, and a child
that inherits them locked hangs at its first search. So searches take turns, and a fork takes its turn, too.
"""

import os
import threading
from typing import Protocol, cast

import re2  # type: ignore[import-not-found,import-untyped,unused-ignore]  # ships no stubs

__all__ = ["ByteMatch", "BytePattern", "PatternError", "compile_bytes"]

PatternError: type[Exception] = re2.error
"""What RE2 says to a pattern that it can't compile; its first argument is a text, in bytes or not."""

MAX_FORK_WAIT_S = 5.0
"""How long a fork waits for a search: ten times what one of a whole batch takes on a slow machine."""


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


def compile_bytes(source: bytes, *, utf8: bool = False) -> BytePattern:
    r"""Compile a pattern that sees single bytes: ``.`` and ``[^x]`` match one byte, case folding is ASCII only.

    With ``utf8`` it sees the characters of UTF-8 text, and offsets are bytes still. Thread-safety: the result is
    immutable and shared freely. Cost: some 0.1 to 5 ms, once. Errors: ``PatternError`` for a pattern outside RE2's
    syntax.

    >>> match = compile_bytes(rb"(?i)key-[0-9a-f]{4}").search(b"a KEY-00ff b")
    >>> match is not None and (match.start(), match.end())
    (2, 10)
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.UTF8 if utf8 else re2.Options.Encoding.LATIN1
    options.max_mem = 32 << 20
    options.log_errors = False
    return _Pattern(source, cast(BytePattern, re2.compile(source, options)))


class _Turns:
    """Whose turn it is to search. Re-entrant, since a signal handler may search in the middle of a search's thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._forking = False

    def before_fork(self) -> None:
        self._forking = self.lock.acquire(timeout=MAX_FORK_WAIT_S)

    def after_in_parent(self) -> None:
        if self._forking:
            self._forking = False
            self.lock.release()

    def after_in_child(self) -> None:
        self.lock = threading.RLock()
        self._forking = False


_turns = _Turns()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_turns.before_fork, after_in_parent=_turns.after_in_parent, after_in_child=_turns.after_in_child
    )


class _Pattern:
    """A pattern that is searched in turns."""

    __slots__ = ("_pattern", "pattern")

    def __init__(self, source: bytes, pattern: BytePattern) -> None:
        self.pattern = source
        self._pattern = pattern

    def search(self, text: bytes, pos: int | None = None, endpos: int | None = None) -> ByteMatch | None:
        with _turns.lock:
            return self._pattern.search(text, pos, endpos)
