"""Rules of one's own: patterns for secrets that only one organisation has."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sonde.errors import ConfigError
from sonde.redaction.linear import BytePattern, PatternError, compile_bytes
from sonde.redaction.values import MARKER
from sonde.redaction.widening import widened

__all__ = ["SecretRule", "own_gate"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MARKERS = compile_bytes(MARKER)

_UNSEARCHED = "unsearched"
"""The kind that is given to the rest of a text whose search for a rule was given up."""

# What looking for a rule in a text may take. RE2 may read to the end of the text for each find (`x[^y]*y|x` in a run of
# x), and doesn't say how far it read: so it is the processor's time that is bounded. A find takes 5 µs, 20 beside busy
# threads; a byte between two of them 1 to 3 ns, and 100 to 200 where an automaton outgrows its memory.
_START_NS = 250_000_000
_NS_PER_BYTE = 300
_NS_PER_FIND = 50_000
_FINDS_PER_LOOK = 16


@dataclass(frozen=True, slots=True)
class SecretRule:
    r"""A kind of secret, and a pattern in RE2's syntax that finds it in any text, keys included.

    The whole match is replaced; where the pattern has a group named ``secret``, that group alone. Upper and lower case
    differ unless the pattern begins with ``(?i)``; ``.`` matches no line end unless with ``(?s)``. Numbers are no
    texts: for those, give the names of their keys. RE2 knows no look-around and no back-references.

    Thread-safety: immutable. Cost: one search of each batch, which takes 1 to 3 ns a byte without the GIL, and one of
    each suspect text for each find: 5 µs. Most patterns end a search where the match ends; one that may go on without
    end (``x[^y]*y|x``) can read the whole rest of the text for each find. So a text has an allowance: 0.25 s, 300 ns a
    byte and 50 µs a find, ten times what others need. Loss: what is left of the text when it is spent is not searched,
    but replaced as a whole by ``[REDACTED:unsearched]``. Errors: ``ConfigError`` for a name or pattern that can't
    work, with what RE2 says about it.

    Source: https://github.com/google/re2/wiki/Syntax

    >>> rule = SecretRule("employee", r"\bEMP-(?P<secret>[0-9]{6})\b")
    >>> text = b"EMP-123456 and EMP-1"
    >>> [(kind, text[start:end]) for start, end, kind in rule.spans(text)]
    [('employee', b'123456')]
    """

    name: str
    pattern: str
    gate: str = field(init=False, repr=False, compare=False)
    _group: int = field(init=False, repr=False, compare=False)
    _compiled: BytePattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check and compile."""
        given: tuple[Any, Any] = (self.name, self.pattern)  # whatever they are annotated as
        if not isinstance(given[0], str) or _NAME.fullmatch(self.name) is None:
            raise ConfigError(
                f"cannot redact by rule {self.name!r}: expected a name of at most 64 lower-case letters, digits and _, "
                "since it becomes part of [REDACTED:name]; rename the rule"
            )
        if not isinstance(given[1], str):
            raise self._refusal(f"it is of type {type(self.pattern).__name__}", "give the pattern as a text")
        try:
            source = self.pattern.encode()
            compiled = compile_bytes(source, utf8=True)
        except UnicodeEncodeError:
            raise self._refusal("it has a lone surrogate", "leave that out") from None
        except PatternError as error:
            raise self._refusal(_said(error), "write it in RE2's syntax, without look-around and \\1") from None
        try:
            wide = widened(self.pattern)
            gate = compile_bytes(wide.source.encode(), utf8=True)
        except ValueError as error:
            raise self._refusal(str(error), "match characters instead") from None
        except PatternError as error:
            raise self._refusal(f"it becomes too large ({_said(error)})", "use fewer or shorter repetitions") from None
        if (nothing := gate.search(b"")) is not None and nothing.end() == 0:
            raise self._refusal("it also matches the empty text", "say what each match has, with + instead of *")
        for name, value in (("gate", wide.source), ("_group", wide.secret_group), ("_compiled", compiled)):
            object.__setattr__(self, name, value)

    def _refusal(self, reason: str, remedy: str) -> ConfigError:
        return ConfigError(f"cannot redact by rule {self.name!r}: pattern {self.pattern!r}: {reason}; {remedy}")

    def spans(self, text: bytes, *, clock_ns: Callable[[], int] = time.thread_time_ns) -> list[tuple[int, int, str]]:
        """Return the secrets as (start, end, kind), in order and apart from each other and from earlier markers.

        The last may be all that is left of the text, as ``unsearched``. ``clock_ns`` tells the processor's time.
        """
        found: list[tuple[int, int, str]] = []
        position = searches = 0
        began_ns = clock_ns()
        while position < len(text):
            earlier = _MARKERS.search(text, position)
            end = len(text) if earlier is None else earlier.start()
            while position < end and (match := self._compiled.search(text, position, end)) is not None:
                if match.end(self._group) > match.start(self._group):
                    found.append((match.start(self._group), match.end(self._group), self.name))
                position = max(match.end(), position + 1)
                searches += 1
                if searches % _FINDS_PER_LOOK == 0 and clock_ns() - began_ns > _allowance_ns(len(text), searches):
                    if position < len(text):
                        found.append((position, len(text), _UNSEARCHED))
                    return found
            position = len(text) if earlier is None else earlier.end()
        return found


def _allowance_ns(size_bytes: int, finds: int) -> int:
    return _START_NS + _NS_PER_BYTE * size_bytes + _NS_PER_FIND * finds


def own_gate(rules: tuple[SecretRule, ...]) -> BytePattern | None:
    """Return a pattern that finds in JSON text whatever any of the rules finds in the text that it carries."""
    if not rules:
        return None
    return compile_bytes("|".join(f"(?:{rule.gate})" for rule in rules).encode(), utf8=True)


def _said(error: Any) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
