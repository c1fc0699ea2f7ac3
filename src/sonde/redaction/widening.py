r"""Widening: from a pattern for text to one that sees the same in the JSON that carries the text.

JSON writes quotes, backslashes and control characters as escapes, and what stands beside a string isn't what stands at
its ends. So in the wide pattern each piece that may match one of those characters may match an escape instead, and
assertions (``^``, ``\b``, …) hold everywhere. Whatever the pattern finds in a text, the wide one finds in its JSON; it
may find more.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from sonde.redaction.linear import compile_bytes

__all__ = ["SECRET_GROUP", "Wide", "widened"]

SECRET_GROUP = "secret"

_ESCAPED = bytes(range(32)) + b'"\\'
_ESCAPE = r'\\(?:["\\bfnrt]|u00[0-9a-fA-F]{2})'
_COUNT = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_OCTAL = re.compile(r"\\[0-7]{1,3}")
_NAMED = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>")
_FLAGS = re.compile(r"\(\?[A-Za-z\-]*[:)]")
_ASSERTIONS = frozenset("AzbB")


class Wide(NamedTuple):
    """What became of a pattern."""

    source: str
    secret_group: int
    """The number of the group ``(?P<secret>…)`` in the pattern as it was; 0 if it has none: all of the match."""


def widened(pattern: str) -> Wide:
    r"""Return the wide form of a pattern that RE2 accepts.

    Raises:
        ValueError: it matches single bytes (``\C``), which no JSON has.

    >>> widened(r"^[0-9]+\b").source
    '(?:)[0-9]+(?:)'
    >>> widened('(?P<secret>x) ').secret_group
    1
    """
    out: list[str] = []
    groups = secret = 0
    position = 0
    while position < len(pattern):
        char = pattern[position]
        end = position + 1
        if char == "\\":
            end = _escape_end(pattern, position)
            out += _of_escape(pattern[position:end])
        elif char == "[":
            end = _class_end(pattern, position)
            out.append(_atom(pattern[position:end]))
        elif char == "(" and (flags := _FLAGS.match(pattern, position)) is not None:
            end = flags.end()
            out.append(flags[0])
        elif char == "(":
            groups += 1
            if (named := _NAMED.match(pattern, position)) is not None:
                end = named.end()
                secret = groups if named[1] == SECRET_GROUP else secret
            out.append("(?:")
        elif char == "{" and (count := _COUNT.match(pattern, position)) is not None:
            end = count.end()
            out.append(count[0])
        elif char in "^$":
            out.append("(?:)")
        elif char == ".":
            out.append(_atom(char))
        elif char in ")|*+?":
            out.append(char)
        else:
            out.append(_literal(char))
        position = end
    return Wide("".join(out), secret)


def _escape_end(pattern: str, start: int) -> int:
    kind = pattern[start + 1]
    if kind == "Q":
        end = pattern.find(r"\E", start)
        return len(pattern) if end < 0 else end + 2
    if kind in "pPx" and pattern[start + 2] == "{":
        return pattern.index("}", start) + 1
    if kind == "x":
        return start + 4
    if kind in "pP":
        return start + 3
    octal = _OCTAL.match(pattern, start)
    return start + 2 if octal is None else octal.end()


def _of_escape(escape: str) -> list[str]:
    if escape[1] == "C":
        raise ValueError(r"\C matches single bytes")
    if escape[1] == "Q":
        return [_literal(char) for char in escape[2:].removesuffix(r"\E")]
    return ["(?:)" if escape[1] in _ASSERTIONS and len(escape) == 2 else _atom(escape)]


def _class_end(pattern: str, start: int) -> int:
    position = start + 1
    position += pattern[position] == "^"
    position += pattern[position] == "]"  # the first is no end
    while pattern[position] != "]":
        named_end = pattern.find(":]", position + 2) if pattern[position : position + 2] == "[:" else -1
        if pattern[position] == "\\":
            position = _escape_end(pattern, position)
        else:
            position = position + 1 if named_end < 0 else named_end + 2
    return position + 1


def _literal(char: str) -> str:
    return _atom(f"\\{char}" if char.isascii() and char.isprintable() and not char.isalnum() and char != "_" else char)


@lru_cache(maxsize=1024)
def _atom(source: str) -> str:
    """One character's worth of pattern, or also an escape if it could match what JSON escapes."""
    if compile_bytes(b"(?s)" + source.encode(), utf8=True).search(_ESCAPED) is None:
        return source
    return f"(?:{source}|{_ESCAPE})"
