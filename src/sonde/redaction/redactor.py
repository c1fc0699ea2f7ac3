"""The redactor: what every door of sonde runs events through before disk or wire."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from sonde.errors import ConfigError
from sonde.redaction.assignments import Assignments
from sonde.redaction.chunks import decoded, encoded, triggered
from sonde.redaction.fingerprint import Mark, fingerprinting, plain
from sonde.redaction.flags import COMMANDS, Flags
from sonde.redaction.keys import CODE_GATE, KeyRules
from sonde.redaction.limit import TextLimit
from sonde.redaction.patterns import HEADERS, SHAPES
from sonde.redaction.prefilter import Prefilter
from sonde.redaction.rule import SecretRule, own_gate
from sonde.redaction.walk import Walk

__all__ = ["NoRedactor", "Redactor", "SecretRedactor"]

_ROUNDS_MAX = 8
_TEXT_CHARS_MIN = 6  # no shape is shorter: x:y@ needs its ://, a named value its name


class _Rule(Protocol):
    @property
    def literals(self) -> tuple[bytes, ...]: ...
    @property
    def gate(self) -> bytes: ...
    def spans(self, text: bytes) -> list[tuple[int, int, str]]: ...


@runtime_checkable
class Redactor(Protocol):
    """What the persister, importers, exporters and the web ask of a redactor; see ``SecretRedactor`` for the terms."""

    def suspicious(self, joined: bytes) -> bool:
        """Tell from the JSON of one or many events whether ``redact`` could change any of them."""

    def suspects(self, encoded: Sequence[bytes]) -> list[int]:
        """Return the indexes of the events that ``redact`` could change, from the JSON of each."""

    def redact(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the same object if it holds no secret, else a redacted copy."""

    def redact_text(self, text: str) -> str:
        """Return the text without its secrets."""


class NoRedactor:
    """Changes nothing (``--no-redact``). Free of cost and state.

    >>> NoRedactor().redact({"password": "hunter2"})
    {'password': 'hunter2'}
    """

    __slots__ = ()

    def suspicious(self, joined: bytes) -> bool:
        """Return False: nothing is looked for."""
        return False

    def suspects(self, encoded: Sequence[bytes]) -> list[int]:
        """Return an empty list: nothing is looked for."""
        return []

    def redact(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data as it is."""
        return data

    def redact_text(self, text: str) -> str:
        """Return the text as it is."""
        return text


class SecretRedactor:
    """Replaces secrets by ``[REDACTED:kind]``: by the names of keys, flags and headers, and by shape in any string.

    Args:
        rules: patterns of your own, as :class:`SecretRule`; they are looked for first.
        keys: names of your own. ``ssn`` also finds ``customer_ssn`` and ``customerSsn``; ``=ssn`` only itself. Numbers
            under them go, too.
        keep_keys: names that hold no secret here (``csrf_token``), compared whole.
        fingerprints: equal secrets get equal markers, ``[REDACTED:api_key:1f0c22ab]``, and can still not be read.
        fingerprint_key: 16 bytes or more, to recognise a secret in other stores and processes as well; by default it is
            random, and dies with the process. Whoever has it can try out what a marker stands for: don't store it.
        text_bytes_max: longer texts are cut, after redaction, with their true size and a hash on record; see
            :class:`sonde.redaction.limit.TextLimit`. By default none is.

    Thread-safety: immutable after construction; one instance serves all threads. Blocking: none. Cost: ``suspects``
    some 0.1 µs for a small clean event in a batch, 7 µs for one with 4 kB of text; ``redact`` some 30 to 500 µs (each
    find costs a search and the GIL back), so call it for suspects only. Pattern scans release the GIL, whatever the
    length. Loss: what is redacted is gone; a secret that neither its name nor its shape gives away stays. Errors:
    ``ConfigError`` for an impossible key; the methods raise nothing for plain data.

    >>> redactor = SecretRedactor()
    >>> redactor.redact({"tool": "login", "args": {"user": "bob", "password": "hunter2"}})
    {'tool': 'login', 'args': {'user': 'bob', 'password': '[REDACTED:password]'}}
    >>> redactor.redact_text("git clone https://bob:hunter2@example.org/repo")
    'git clone https://bob:[REDACTED:password]@example.org/repo'
    """

    def __init__(
        self,
        *,
        rules: Iterable[SecretRule] = (),
        keys: Iterable[str] = (),
        keep_keys: Iterable[str] = (),
        fingerprints: bool = False,
        fingerprint_key: bytes | str | None = None,
        text_bytes_max: int | None = None,
    ) -> None:
        own = _checked(rules)
        self.is_default = not (own or keys or keep_keys or fingerprints or fingerprint_key or text_bytes_max)
        """Whether it is as sonde has it: any process can have another one like it."""
        key_rules = KeyRules(keys=keys, keep_keys=keep_keys)
        flags = Flags(key_rules)
        self._own = own
        self._rules: tuple[_Rule, ...] = (*HEADERS, *COMMANDS, flags, Assignments(key_rules), *SHAPES)
        self._triggers = [(text.decode(), index) for index, rule in enumerate(self._rules) for text in rule.literals]
        self._overlap_bytes = max(len(text) for text, _ in self._triggers) - 1
        self._chars_min = 1 if own else _TEXT_CHARS_MIN
        self._mark: Mark = fingerprinting(fingerprint_key) if fingerprints or fingerprint_key is not None else plain
        self._walk = Walk(key_rules, flags, text=self._redacted_text, mark=self._mark)
        self._limit = None if text_bytes_max is None else TextLimit(text_bytes_max)
        self._prefilter = Prefilter(
            (*(rule.gate for rule in self._rules), CODE_GATE), own=own_gate(own), limit_bytes=text_bytes_max
        )

    def suspicious(self, joined: bytes) -> bool:
        r"""Tell from JSON whether ``redact`` could change any event in it; False is a promise, True is not.

        ``joined`` is the output of ``msgspec.json.encode`` for one event's data, or for many with anything but letters,
        digits and quotes between them. Escapes hide nothing: patterns that meet quotes, backslashes and control
        characters are written for their escaped form. Cost: as ``Prefilter``; without the GIL.

        >>> redactor = SecretRedactor()
        >>> redactor.suspicious(b'{"input_tokens":12}'), redactor.suspicious(b'{"note":"say \\"password\\": \\"x\\""}')
        (False, True)
        """
        return self._prefilter.suspicious(joined)

    def suspects(self, encoded: Sequence[bytes]) -> list[int]:
        """Return the indexes of the events that ``redact`` could change; the rest it would return as they are.

        The cheap way through a batch: one scan when all are clean, one more for each suspect.

        >>> SecretRedactor().suspects([b'{"ok":true}', b'{"password":"hunter2"}'])
        [1]
        """
        return self._prefilter.suspects(encoded)

    def redact(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the same object if it holds no secret, else a copy without them that shares what was clean.

        Values past a depth of 200 are replaced whole. Never changes its input, never raises for plain data.

        >>> data = {"tool": "read_file", "input_tokens": 12}
        >>> SecretRedactor().redact(data) is data
        True
        """
        redacted = self._walk.run(data)
        return redacted if self._limit is None else self._limit.cut(redacted)

    def redact_text(self, text: str) -> str:
        """Return the text without its secrets; the same object if it has none.

        Linear in the text's length, whoever wrote it.

        >>> SecretRedactor().redact_text("export DB_PASSWORD='hunter2' && make")
        "export DB_PASSWORD='[REDACTED:password]' && make"
        """
        redacted = self._redacted_text(text)
        return redacted if self._limit is None else self._limit.cut_text(redacted)[0]

    def _redacted_text(self, text: str) -> str:
        if len(text) < self._chars_min:
            return text
        raw = encoded(text)
        result = raw
        for rule in self._own:
            result = self._replaced(result, rule.spans(result))
        # What one rule puts in place can end what another one reads: go on until nothing changes.
        for _ in range(_ROUNDS_MAX):
            changed = self._once(result)
            if changed is result:
                break
            result = changed
        return text if result is raw else decoded(result)

    def _once(self, text: bytes) -> bytes:
        """One round. The same object if no rule found anything."""
        for index in triggered(text, self._triggers, self._overlap_bytes):
            text = self._replaced(text, self._rules[index].spans(text))
        return text

    def _replaced(self, text: bytes, spans: Sequence[tuple[int, int, str]]) -> bytes:
        if not spans:
            return text
        pieces: list[bytes] = []
        position = 0
        for start, end, kind in spans:
            pieces += (text[position:start], self._mark(kind, text[start:end]).encode())
            position = end
        result = b"".join((*pieces, text[position:]))
        return text if result == text else result


def _checked(rules: Iterable[SecretRule]) -> tuple[SecretRule, ...]:
    own = tuple(rules)
    for rule in own:
        if not isinstance(rule, SecretRule):
            raise ConfigError(
                f"cannot redact by rule {rule!r}: expected a SecretRule; "
                "write [SecretRule('employee', r'EMP-[0-9]{6}')]"
            )
    return own
