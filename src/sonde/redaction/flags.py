"""Secrets on command lines: after a flag that names one, and where a known program takes one."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from sonde.redaction.assignments import VALUE, quoted_value, shell_value
from sonde.redaction.chunks import encoded
from sonde.redaction.keys import KeyRules
from sonde.redaction.linear import ByteMatch, compile_bytes
from sonde.redaction.patterns import Shape, shape
from sonde.redaction.values import is_marker, is_placeholder, is_word, looks_random

__all__ = ["COMMANDS", "Flags"]

_FLAG_SET = rb"[ \"'`(,=\[]|\\[nrtf]"
_WORD = rb"[^\n|;\\]|\\[\s\S]"  # a command goes on past an escaped line end
_QUOTE = rb"[\"']?"
_SECRET = rb"([^\s\"'|;&<>]+)"
_METAVAR = re.compile(r"[A-Z][A-Z_\-]*\Z|[.\[\]<>{}]+")
_PORTS = re.compile(rb"[0-9]*:[0-9]*\Z")
_PORTS_BYTES_MAX = 16
_METAVAR_BYTES_MAX = 64
_PASSWORD_FLAGS = frozenset(("--pass", "--pwd", "-pass", "-pwd"))
_PASSWORD_FLAG_CHARS_MAX = max(map(len, _PASSWORD_FLAGS))


def _is_given(secret: bytes) -> bool:
    return not is_placeholder(secret) and not (len(secret) <= _PORTS_BYTES_MAX and _PORTS.match(secret))


def _command(kind: str, program: str, before: bytes, *, gate: bytes) -> Shape:
    """A row for a program whose flag takes a secret; the gate reads JSON, where items of a list are apart too."""
    source = rb"\b" + program.encode() + rb"(?:" + _WORD + rb")*?\s" + before + _SECRET
    return shape(kind, program.removesuffix("[a-z]*"), source, group=1, accept=_is_given,
                 gate=program.encode() + rb".*(?:" + _FLAG_SET + rb")" + gate)  # fmt: skip


_USER = rb"(?:-[A-Za-z]*[uU][ =]?|--(?:proxy-)?user[ =])" + _QUOTE + rb"[^\s\"':]*:"
COMMANDS: tuple[Shape, ...] = (
    _command("password", "curl", _USER, gate=rb"-(?:[A-Za-z]*[uU]|-user|-proxy-user)"),
    _command("password", "sshpass", rb"-p ?" + _QUOTE, gate=rb"-p"),
    _command("password", "redis-cli", rb"-a " + _QUOTE, gate=rb"-a"),
    _command("password", "docker login", rb"-p " + _QUOTE, gate=rb"-p"),
    _command("password", "mysql[a-z]*", rb"-p" + _QUOTE, gate=rb"-p"),
    _command("password", "mariadb[a-z]*", rb"-p" + _QUOTE, gate=rb"-p"),
    shape("password", "pass:", rb"-pass(?:in|out)?[ =]" + _QUOTE + rb"pass:" + _SECRET, group=1,
          gate=rb"pass:", accept=_is_given),
)  # fmt: skip
# In an argument list: the flags whose next item is a secret, and whether only what follows a colon in it is.
_TAKES: dict[str, tuple[frozenset[str], bool]] = {
    "curl": (frozenset(("-u", "-U", "--user", "--proxy-user")), True),
    "sshpass": (frozenset(("-p",)), False),
    "redis-cli": (frozenset(("-a",)), False),
    "docker login": (frozenset(("-p",)), False),
}
_ATTACHES = {"sshpass": "-p", "mysql": "-p", "mysqldump": "-p", "mysqladmin": "-p", "mariadb": "-p", "curl": "-u"}
LIST_GATE = rb"(?:curl|sshpass|redis-cli|docker|mysql|mariadb).*\"-"


class Flags:
    """Finds the values of flags whose name is a secret's: ``--password x``, ``--api-key=x``, ``["--token", "x"]``.

    Thread-safety: immutable, shared freely. Cost: one pattern search for each candidate, without the GIL. Loss: a flag
    known only to its program (other than those in the table above) is not seen.

    >>> flags, text = Flags(KeyRules()), b"deploy --api-key abc --token-limit 5"
    >>> [(kind, text[start:end]) for start, end, kind in flags.spans(text)]
    [('api_key', b'abc')]
    """

    def __init__(self, rules: KeyRules) -> None:
        self._rules = rules
        near = rules.word_pattern(separator=r"[_\-]{0,2}").encode()
        name = rb"--?(?i:[A-Za-z0-9_\-]*(?:" + near + rb")[A-Za-z0-9_\-]*|pass|pwd)"
        self._pattern = compile_bytes(rb"(?:^|[\s\"'`(,=\[])(" + name + rb")(=|[ \t]+|[ \t]*\\\r?\n[ \t]*)" + VALUE)
        self.literals = (*(literal.encode() for literal in rules.literals), b"-pass", b"-pwd")
        words = rules.word_pattern().encode()
        self.gate = (
            rb"(?:"
            + _FLAG_SET
            + rb")--?(?i:[A-Za-z0-9_\-]*(?:"
            + words
            + rb")[A-Za-z0-9_\-]*|pass|pwd)[ \"\\=]|"
            + LIST_GATE
        )

    def spans(self, text: bytes) -> list[tuple[int, int, str]]:
        """Return the values to redact as (start, end, kind), in order and apart from each other."""
        found = []
        position = 0
        while (match := self._pattern.search(text, position)) is not None:
            span = self._judged(text, match)
            if span is None:
                position = match.end(2) - 1  # the next flag needs the blank before it
            else:
                found.append(span)
                position = span[1]
        return found

    def _judged(self, text: bytes, match: ByteMatch) -> tuple[int, int, str] | None:
        kind = self.kind((match.group(1) or b"").decode("ascii"))
        if kind is None:
            return None
        quoted = quoted_value(match)
        if quoted is not None:
            begin, end = quoted
            value = text[begin:end]
            return (begin, end, kind) if value and not is_marker(value) and not is_placeholder(value) else None
        span = shell_value(text, match.end(2), kind)
        if span is None:
            return None
        value = text[span[0] : span[1]]
        sign = match.group(2) or b""
        if value.startswith(b"-") and sign != b"=":
            return None
        if is_word(value) or self._is_metavar(value) or (len(sign) > 1 and _is_blank(sign) and not looks_random(value)):
            return None  # a help text
        return span

    def _is_metavar(self, value: bytes) -> bool:
        if len(value) > _METAVAR_BYTES_MAX:
            return False
        name = value.decode("utf-8", "replace").rstrip("]),.")
        return _METAVAR.match(name) is not None and self._rules.kind(name) is not None

    def kind(self, item: str) -> str | None:
        """Return what this flag gives: the kind of a secret, or None.

        >>> flags = Flags(KeyRules())
        >>> flags.kind("--client-secret"), flags.kind("--max-tokens"), flags.kind("secret")
        ('secret', None, None)
        """
        if not item.startswith("-"):
            return None
        short = len(item) <= _PASSWORD_FLAG_CHARS_MAX
        return "password" if short and item.lower() in _PASSWORD_FLAGS else self._rules.kind(item)

    def listed(self, items: Sequence[Any]) -> dict[int, tuple[int, str]]:
        """Return for the items of an argument list that are secrets: index -> (where the secret begins, kind).

        >>> Flags(KeyRules()).listed(["curl", "-u", "bob:hunter2", "--token", "abc"])
        {2: (4, 'password'), 4: (0, 'token')}
        """
        found: dict[int, tuple[int, str]] = {}
        program = word = ""
        for index, item in enumerate(items):
            if not isinstance(item, str) or not item:
                continue
            if item[0] != "-":
                before, word = word, PurePosixPath(item[-64:]).name
                name = f"{before} {word}" if word == "login" else word
                program = name if name in _TAKES or name in _ATTACHES else program
                continue
            attached = _ATTACHES.get(program, "\0")
            if item.startswith(attached) and len(item) > len(attached):
                begin = len(attached) if program != "curl" else item.find(":") + 1
                if begin > 0 and _is_given(encoded(item[begin:])):
                    found[index] = (begin, "password")
            following = items[index + 1] if index + 1 < len(items) else None
            if not isinstance(following, str) or not following or following.startswith("-"):
                continue
            flags, after_colon = _TAKES.get(program, (frozenset(), False))
            if item in flags:
                begin = following.find(":") + 1 if after_colon else 0
                if (begin or not after_colon) and _is_given(encoded(following[begin:])) and following[begin:]:
                    found[index + 1] = (begin, "password")
            elif (kind := self.kind(item) if _is_flag(item) else None) is not None and _is_listed(following, kind):
                found[index + 1] = (0, kind)
        return found


def _is_blank(sign: bytes) -> bool:
    """A sign without `=` and without an escaped line end; isspace() would read all of it, as long as it is."""
    return sign != b"=" and b"\\" not in sign


def _is_listed(value: str, kind: str) -> bool:
    count = kind == "token" and len(value) <= 5 and value.isdigit()
    return not count and not is_placeholder(encoded(value))


def _is_flag(item: str) -> bool:
    return len(item) < 64 and item.isascii() and item.strip("-").replace("-", "").replace("_", "").isalnum()
