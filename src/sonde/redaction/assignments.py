"""Secrets that a name before them gives away in free text: ``api_key: x``, ``PASSWORD=x``, ``{"secret": "x"}``."""

import re

from sonde.redaction.keys import KeyRules
from sonde.redaction.linear import ByteMatch, compile_bytes
from sonde.redaction.patterns import ASSIGNED_GATE
from sonde.redaction.values import (
    ends_line,
    is_marker,
    is_placeholder,
    is_reference,
    is_word,
    looks_issued,
    looks_random,
    no_word_chars,
)

__all__ = ["VALUE", "Assignments", "quoted_value", "shell_value"]

# A value longer than this is never taken for code or prose. It bounds what a rejected match costs: hostile text can
# make each rejection scan this much again, and no more.
REJECT_BYTES_MAX = 200
_LINE_START = re.compile(rb"(?:^|[\r\n\"']|\\[nr])[ \t\-]*(?:export[ \t]+)?[\"']?\Z")
_SHELL_WORD = compile_bytes(rb"[^\s\"'`;&|<>\\]*")
_REST = compile_bytes(rb"[^\s\"'`;&|<>\\,]*")
_IDENTIFIER = re.compile(rb"[A-Za-z_\-.]+\Z")
_SHORT_NUMBER = re.compile(rb"[0-9]{1,5}\Z")
_TEXT_NAMES = frozenset((b"token", b"tokens"))  # alone they are a model's and a parser's, too; auth_token isn't
_END_BYTES = 64
_STRONG = frozenset(("password", "api_key", "private_key", "connection_string", "custom"))
VALUE = (
    rb'(?:[bBfFrRuU]{0,2}"((?:[^"\\\r\n]|\\[^\r\n])*)'  # 1 in double quotes
    rb"|[bBfFrRuU]{0,2}'((?:[^'\\\r\n]|\\[^\r\n])*)"  # 2 in single quotes
    rb"|`([^`\r\n]+)"  # 3 in backticks
    rb'|\\"((?:[^"\\\r\n]|\\+[^"\\\r\n]|\\{2}\\+")*)'  # 4 JSON in a string
    rb'|\\{2,}"((?:[^"\\\r\n]|\\+[^"\\\r\n])*)'  # 5 JSON in a string in a string
    rb"|\\+'((?:[^'\\\r\n]|\\+[^'\\\r\n])*)"  # 6
    rb"|([^\s\"'`;&|<>\\,=:]+={0,2}))"  # 7 bare; ends before a sign, so that rejected values are apart
)
_TYPES = rb"(?:Optional\[)?(?:str|string|String|SecretStr|bytes|&str|&'static str|Any)\]?(?:[ \t]*\|[ \t]*None)?"
_QUOTED_FIRST, _BARE = 3, 9  # group numbers: 1 is the name, 2 the sign


class Assignments:
    """Finds values in text by the names before them.

    Quoted values under a secret's name go. Bare ones go when they stand as in a shell (``NAME=x``, ``--name=x``), end
    a line that begins with a strong name (``api_key: x``), or look like no word; a bare word that could be code or
    prose (``token = parse(x)``, ``password: enter it``) stays.

    Thread-safety: immutable, shared freely. Cost: one pattern search for each candidate; never blocks, and the search
    itself runs without the GIL. Loss: a bare secret that is an ordinary word inside a sentence is not seen.

    >>> names = Assignments(KeyRules())
    >>> text = b"export API_KEY=abc; run --token-limit 100"
    >>> [(kind, text[start:end]) for start, end, kind in names.spans(text)]
    [('api_key', b'abc')]
    """

    def __init__(self, rules: KeyRules) -> None:
        self._rules = rules
        words = rules.word_pattern().encode()
        near = rules.word_pattern(separator=r"[_.\- ]{0,2}").encode()
        name = rb"(?i:[A-Za-z0-9_.\-]*(?:" + near + rb")[A-Za-z0-9_.\-]*)"
        typed = rb":[ \t]*" + _TYPES + rb"[ \t]*="
        self._pattern = compile_bytes(
            rb"(" + name + rb")(\\*[\"'`]?\]?[ \t]*(?:" + typed + rb"|:=|=>|==?|:)[ \t]*)" + VALUE
        )
        self.literals = tuple(literal.encode() for literal in rules.literals)
        named = rb"(?i:" + words + rb")"
        numeric = rb"(?i:" + rules.word_pattern(only=("password", "custom")).encode() + rb")"
        to_value = rb'(?:[^"\\\n]|\\.)*"\s*:\s*'
        self.gate = b"|".join(
            (
                named + to_value + rb'["\[{]',  # a key, and a value that isn't a number, null, true or false
                numeric + to_value + rb"[0-9\-]",
                named + rb"[A-Za-z0-9_.\-]*" + ASSIGNED_GATE,
                named + rb'[A-Za-z0-9_.\- ]*"\s*[,}\]]',  # a name that is a value: {"name": "API_KEY", "value": "x"}
            )
        )

    def spans(self, text: bytes) -> list[tuple[int, int, str]]:
        """Return the values to redact as (start, end, kind), in order and apart from each other."""
        found = []
        position = 0
        while (match := self._pattern.search(text, position)) is not None:
            span = self._judged(text, match)
            if span is None:
                position = _value_start(match)  # the value may begin with a name of its own
            else:
                found.append(span)
                position = span[1]
        return found

    def _judged(self, text: bytes, match: ByteMatch) -> tuple[int, int, str] | None:
        start = match.start(1)
        name = match.group(1) or b""
        if text[max(0, start - 10) : start] == b"[REDACTED:":
            return None
        if text[start - 1 : start] == b"\\" and name[:1] in b"nrtbf":
            name = name[1:]  # the letter belongs to a literal \n before the name
        kind = self._rules.kind(name.decode("ascii"))
        if kind is None:
            return None
        sign = _ends(match.group(2) or b"").strip(b" \t\"'`\\]")
        quoted = quoted_value(match)
        if quoted is not None:
            begin, end = quoted
            return (begin, end, kind) if _is_quoted_secret(text[begin:end], name[-201:].lower()) else None
        if kind in ("authorization", "cookie"):
            return None  # headers, which have rows of their own
        begin, end = match.start(_BARE), match.end(_BARE)
        shell = name.startswith(b"--") or (match.group(2) == b"=" and not re.search(rb"[a-z]", _ends(name)))
        if shell:
            return shell_value(text, begin, kind)
        end = _REST.search(text, end).end()  # type: ignore[union-attr]  # matches the empty string
        last = max(begin, end - REJECT_BYTES_MAX)
        end = last + len(text[last:end].rstrip(b".,:)]}"))
        value = text[begin:end]
        if not value or (len(value) <= REJECT_BYTES_MAX and self._is_code_or_prose(text, match, value, sign, kind)):
            return None
        return begin, end, kind

    def _is_code_or_prose(self, text: bytes, match: ByteMatch, value: bytes, sign: bytes, kind: str) -> bool:
        if (
            no_word_chars(value)
            or is_placeholder(value)
            or is_word(value)
            or is_reference(value)
            or is_reference(text[match.start(_BARE) : match.end(_BARE)])
        ):
            return True
        if text[match.end(_BARE) : match.end(_BARE) + 1] in (b"(", b"["):
            return True
        if _SHORT_NUMBER.match(value) and kind != "password":
            return True
        if _IDENTIFIER.match(value) and self._rules.kind(value.decode("ascii")) is not None:
            return True  # password=password: an argument handed on
        if looks_random(value):
            return False
        if match.group(2) == b"=":
            return False
        lines = _LINE_START.search(text[max(0, match.start(1) - 32) : match.start(1)]) is not None
        strong = kind in _STRONG or b"_" in (match.group(1) or b"") or b"-" in (match.group(1) or b"")
        return not (strong and sign == b":" and lines and ends_line(text, match.end(_BARE)))


def _ends(text: bytes) -> bytes:
    """A name or sign for ``re``, which keeps the GIL: hostile ones are as long as the text."""
    return text if len(text) <= REJECT_BYTES_MAX else text[:_END_BYTES] + text[-_END_BYTES:]


def _squeezed(name: bytes) -> bytes:
    return re.sub(rb"[^a-z0-9]", b"", name.lower())


def _is_quoted_secret(value: bytes, name: bytes) -> bool:
    if len(value) > REJECT_BYTES_MAX:
        return True
    if not value.strip() or is_marker(value) or (len(name) <= REJECT_BYTES_MAX and _squeezed(value) == _squeezed(name)):
        return False
    if name in _TEXT_NAMES and not looks_issued(value):
        return False
    return not (no_word_chars(value) or is_placeholder(value) or is_word(value))


def _value_start(match: ByteMatch) -> int:
    return match.end(2)


def quoted_value(match: ByteMatch) -> tuple[int, int] | None:
    """Return the span inside the quotes, or None where the value has none."""
    for group in range(_QUOTED_FIRST, _BARE):
        if match.start(group) >= 0:
            return match.start(group), match.end(group)
    return None


def shell_value(text: bytes, begin: int, kind: str) -> tuple[int, int, str] | None:
    """Return the word of a command line that begins here, unless it stands for a secret kept elsewhere."""
    end = _SHELL_WORD.search(text, begin).end()  # type: ignore[union-attr]  # matches the empty string
    value = text[begin:end]
    if not value or is_marker(value):
        return None
    if len(value) <= REJECT_BYTES_MAX and (is_placeholder(value) or (_SHORT_NUMBER.match(value) and kind == "token")):
        return None
    return begin, end, kind
