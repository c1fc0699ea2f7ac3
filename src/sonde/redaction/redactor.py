"""The redactor: what every door of sonde runs events through before disk or wire."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from sonde.redaction.assignments import Assignments
from sonde.redaction.flags import COMMANDS, Flags
from sonde.redaction.keys import CODE_GATE, KeyRules
from sonde.redaction.patterns import HEADERS, SHAPES
from sonde.redaction.prefilter import Prefilter
from sonde.redaction.values import is_marker, is_placeholder, looks_random, marker

__all__ = ["NoRedactor", "Redactor", "SecretRedactor"]

_DEPTH_MAX = 200  # the sanitiser cuts at 100
_ROUNDS_MAX = 8
_TEXT_CHARS_MIN = 6  # no shape is shorter: x:y@ needs its ://, a named value its name
_CACHED_KEY_CHARS_MAX = 128
_NAME_KEYS = ("name", "key", "header", "variable", "Name", "Key")
_VALUE_KEYS = ("value", "Value")
_SCHEMA_TYPES = frozenset(("string", "object", "number", "integer", "array", "boolean", "null"))
_SCHEMA_KEYS = frozenset(
    ("type", "description", "title", "format", "minLength", "maxLength", "pattern", "items", "properties",
     "required", "anyOf", "oneOf", "allOf", "nullable", "additionalProperties", "minItems", "maxItems", "minimum",
     "maximum", "writeOnly", "readOnly", "deprecated", "$ref")
)  # fmt: skip


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

    ``keys`` adds names of your own (``ssn`` also finds ``customer_ssn`` and ``customerSsn``; numbers under them go
    too); ``keep_keys`` are names that hold no secret here (``token`` for a tokenizer's output), compared whole.

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

    def __init__(self, *, keys: Iterable[str] = (), keep_keys: Iterable[str] = ()) -> None:
        self._keys = KeyRules(keys=keys, keep_keys=keep_keys)
        self._flags = Flags(self._keys)
        self._rules: tuple[_Rule, ...] = (*HEADERS, *COMMANDS, self._flags, Assignments(self._keys), *SHAPES)
        self._triggers = [(text.decode(), index) for index, rule in enumerate(self._rules) for text in rule.literals]
        self._prefilter = Prefilter((*(rule.gate for rule in self._rules), CODE_GATE))
        self._redacted_key = lru_cache(maxsize=4096)(self.redact_text)

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
        redacted: dict[str, Any] = self._mapping(data, 0)
        return redacted

    def redact_text(self, text: str) -> str:
        """Return the text without its secrets; the same object if it has none.

        Linear in the text's length, whoever wrote it.

        >>> SecretRedactor().redact_text("export DB_PASSWORD='hunter2' && make")
        "export DB_PASSWORD='[REDACTED:password]' && make"
        """
        if len(text) < _TEXT_CHARS_MIN:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        result = raw
        # What one rule puts in place can end what another one reads: go on until nothing changes.
        for _ in range(_ROUNDS_MAX):
            changed = self._once(result)
            if changed == result:
                break
            result = changed
        return text if result == raw else result.decode("utf-8", "surrogatepass")

    def _once(self, text: bytes) -> bytes:
        lowered = text.lower().decode("latin-1")  # str finds short texts four times as fast as bytes
        for index in dict.fromkeys([index for literal, index in self._triggers if literal in lowered]):
            if spans := self._rules[index].spans(text):
                text = _replaced(text, spans)
        return text

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple):
            return self._sequence(value, depth + 1)
        return value

    def _mapping(self, data: dict[str, Any], depth: int) -> Any:
        if depth > _DEPTH_MAX and data:
            return marker("too_deep")
        result: dict[str, Any] = {}
        changed = False
        named = _named_kind(data, self._keys.kind)
        for key, value in data.items():
            text = isinstance(key, str)
            kind = self._keys.kind(key) if text else None
            if kind is None and named is not None and key in _VALUE_KEYS and isinstance(value, str):
                kind = named
            if kind is None and text and isinstance(value, str):
                kind = self._keys.code_kind(key)
            new_key = key
            if text:  # a cache of long keys would keep them alive
                new_key = self._redacted_key(key) if len(key) <= _CACHED_KEY_CHARS_MAX else self.redact_text(key)
            new_value = self._value(value, depth) if kind is None else self._hidden(key, value, kind, depth)
            if new_key != key:
                new_key = _unused(new_key, data, result)
            changed = changed or new_key != key or new_value is not value
            result[new_key] = new_value
        return result if changed else data

    def _sequence(self, items: Sequence[Any], depth: int) -> Any:
        if depth > _DEPTH_MAX and items:
            return marker("too_deep")
        secrets = self._flags.listed(items)
        if len(items) == 2 and (pair := self._pair_kind(*items)) is not None:
            secrets[1] = (0, pair)
        result = []
        for index, item in enumerate(items):
            if index in secrets:
                begin, kind = secrets[index]
                hidden = item[begin:].encode("utf-8", "surrogatepass")
                result.append(item if is_marker(hidden) else item[:begin] + marker(kind))
            else:
                result.append(self._value(item, depth))
        if all(new is old for new, old in zip(result, items, strict=True)):
            return items
        return result if isinstance(items, list) else tuple(result)

    def _pair_kind(self, name: Any, value: Any) -> str | None:
        """A header or variable as a pair: ``["X-Api-Key", "…"]``; two words are more likely a list of names."""
        if not isinstance(name, str) or not isinstance(value, str) or not _is_name(name) or "[REDACTED:" in value:
            return None
        raw = value.encode("utf-8", "surrogatepass")
        return self._keys.kind(name) if looks_random(raw) and not is_placeholder(raw) else None

    def _hidden(self, key: str, value: Any, kind: str, depth: int) -> Any:
        if isinstance(value, str):
            known = not value or is_marker(value.encode("utf-8", "surrogatepass"))
            return value if known else marker(kind)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return marker(kind) if self._keys.holds_number(key) else value
        if isinstance(value, dict):
            return self._value(value, depth) if _is_harmless(value.values()) or _is_schema(value) else marker(kind)
        if isinstance(value, list | tuple):
            return value if _is_harmless(value) else marker(kind)
        return value


def _replaced(text: bytes, spans: Iterable[tuple[int, int, str]]) -> bytes:
    pieces: list[bytes] = []
    position = 0
    for start, end, kind in spans:
        pieces += (text[position:start], marker(kind).encode())
        position = end
    return b"".join((*pieces, text[position:]))


def _named_kind(data: Mapping[str, Any], kind: Callable[[str], str | None]) -> str | None:
    """The kind that ``{"name": "API_KEY", "value": "…"}`` gives to its value."""
    if not any(key in data for key in _VALUE_KEYS):
        return None
    names = (data.get(key) for key in _NAME_KEYS)
    return next((found for name in names if isinstance(name, str) and _is_name(name) and (found := kind(name))), None)


def _is_name(text: str) -> bool:
    return (
        text.isascii()
        and len(text) <= 64
        and text.replace("_", "").replace("-", "").replace(".", "").replace(" ", "").isalnum()
    )


def _is_harmless(values: Iterable[Any]) -> bool:
    """Numbers are counts, and markers are what an earlier redaction left."""
    return all(
        value is None
        or isinstance(value, int | float)
        or (isinstance(value, str) and (not value or is_marker(value.encode("utf-8", "replace"))))
        for value in values
    )


def _is_schema(value: Mapping[str, Any]) -> bool:
    """A JSON Schema for a secret is no secret: tool definitions are full of them."""
    kind = value.get("type")
    return isinstance(kind, str) and kind in _SCHEMA_TYPES and _SCHEMA_KEYS.issuperset(value)


def _unused(key: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Two secrets of a kind as keys mustn't fold into one."""
    number, free = 2, key
    while free in data or free in result:
        free, number = f"{key}#{number}", number + 1
    return free
