"""The walk through an event's data: what the names of keys, flags and headers give away, and texts as they come."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sonde.redaction.chunks import encoded
from sonde.redaction.fingerprint import Mark
from sonde.redaction.flags import Flags
from sonde.redaction.keys import KeyRules
from sonde.redaction.values import is_marker, is_placeholder, looks_issued, looks_random, marker

__all__ = ["Walk"]

_DEPTH_MAX = 200  # the sanitiser cuts at 100
_CACHED_KEY_CHARS_MAX = 128
_NAME_KEYS = ("name", "key", "header", "variable", "Name", "Key")
_VALUE_KEYS = ("value", "Value")
_SCHEMA_TYPES = frozenset(("string", "object", "number", "integer", "array", "boolean", "null"))
_SCHEMA_KEYS = frozenset(
    ("type", "description", "title", "format", "minLength", "maxLength", "pattern", "items", "properties",
     "required", "anyOf", "oneOf", "allOf", "nullable", "additionalProperties", "minItems", "maxItems", "minimum",
     "maximum", "writeOnly", "readOnly", "deprecated", "$ref")
)  # fmt: skip


class Walk:
    """Goes through plain data and copies what has a secret in it; the rest is shared.

    Thread-safety: immutable but for a bounded cache that is safe under threads.

    >>> walk = Walk(KeyRules(), Flags(KeyRules()), text=lambda text: text, mark=lambda kind, secret: f"<{kind}>")
    >>> walk.run({"user": "bob", "password": "hunter2", "token": " the"})
    {'user': 'bob', 'password': '<password>', 'token': ' the'}
    """

    def __init__(self, keys: KeyRules, flags: Flags, *, text: Callable[[str], str], mark: Mark) -> None:
        """``text`` redacts a text, ``mark`` gives what stands for a secret."""
        self._keys = keys
        self._flags = flags
        self._text = text
        self._mark = mark
        self._redacted_key = lru_cache(maxsize=4096)(text)

    def run(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the same object if nothing in it is a secret, else a redacted copy."""
        redacted: dict[str, Any] = self._mapping(data, 0)
        return redacted

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple):
            return self._sequence(value, depth + 1)
        return value

    def _mapping(self, data: dict[str, Any], depth: int) -> Any:
        if depth > _DEPTH_MAX and data:
            return marker("too_deep")
        result: dict[str, Any] = {}
        taken: dict[str, int] = {}
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
                new_key = self._redacted_key(key) if len(key) <= _CACHED_KEY_CHARS_MAX else self._text(key)
            new_value = self._value(value, depth) if kind is None else self._hidden(key, value, kind, depth)
            if new_key != key:
                new_key = _unused(new_key, data, result, taken)
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
                hidden = encoded(item[begin:])
                result.append(item if is_marker(hidden) else item[:begin] + self._mark(kind, hidden))
            else:
                result.append(self._value(item, depth))
        if all(new is old for new, old in zip(result, items, strict=True)):
            return items
        return result if isinstance(items, list) else tuple(result)

    def _pair_kind(self, name: Any, value: Any) -> str | None:
        """A header or variable as a pair: ``["X-Api-Key", "…"]``; two words are more likely a list of names."""
        if not isinstance(name, str) or not isinstance(value, str) or not _is_name(name):
            return None
        kind = self._keys.kind(name)
        if kind is None or "[REDACTED:" in value:
            return None
        raw = encoded(value)
        return kind if looks_random(raw) and not is_placeholder(raw) else None

    def _hidden(self, key: str, value: Any, kind: str, depth: int) -> Any:
        if kind == "token" and self._keys.is_of_texts(key):
            return self._issued(value, depth)
        if isinstance(value, str):
            raw = encoded(value)
            return value if not value or is_marker(raw) else self._mark(kind, raw)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._mark(kind, repr(value).encode()) if self._keys.holds_number(key) else value
        if isinstance(value, dict):
            harmless = _is_harmless(value.values()) or _is_schema(value)
            return self._value(value, depth) if harmless else self._mark(kind, _said(value))
        if isinstance(value, list | tuple):
            return value if _is_harmless(value) else self._mark(kind, _said(value))
        return value

    def _issued(self, value: Any, depth: int) -> Any:
        """What stands under ``token`` alone: models' tokens stay, and what a service may have issued goes."""
        if isinstance(value, str):
            raw = encoded(value)
            return self._mark("token", raw) if looks_issued(raw) and not is_placeholder(raw) else self._text(value)
        if isinstance(value, dict):
            seen = self._mapping(value, depth + 1)
            if not isinstance(seen, dict):
                return seen
            judged = {key: self._issued(text, depth) if isinstance(text, str) else text for key, text in seen.items()}
            return judged if any(judged[key] is not text for key, text in seen.items()) else seen
        if isinstance(value, list | tuple):
            if depth > _DEPTH_MAX and value:
                return marker("too_deep")
            items = [self._issued(item, depth + 1) for item in value]
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return (items if isinstance(value, list) else tuple(items)) if changed else value
        return value


def _said(value: Any) -> Iterator[bytes]:
    """A container for a fingerprint, piece by piece, no deeper than data may be; each text after its length.

    No ``repr``: that of megabytes would keep the interpreter from every other thread.
    """
    waiting = [iter((value,))]
    while waiting:
        for inner in waiting[-1]:
            if isinstance(inner, str):
                raw = encoded(inner)
                yield b"%d:" % len(raw)
                yield raw
            elif isinstance(inner, dict | list | tuple):
                yield b"%c%d:" % (b"{" if isinstance(inner, dict) else b"[", len(inner))
                if len(waiting) <= _DEPTH_MAX:
                    waiting.append(chain.from_iterable(inner.items()) if isinstance(inner, dict) else iter(inner))
                    break
            else:
                yield f"{inner!r},".encode("utf-8", "surrogatepass")
        else:
            waiting.pop()


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
        or (isinstance(value, str) and (not value or is_marker(encoded(value))))
        for value in values
    )


def _is_schema(value: Mapping[str, Any]) -> bool:
    """A JSON Schema for a secret is no secret: tool definitions are full of them."""
    kind = value.get("type")
    few = len(value) <= len(_SCHEMA_KEYS)
    return few and isinstance(kind, str) and kind in _SCHEMA_TYPES and _SCHEMA_KEYS.issuperset(value)


def _unused(key: str, data: Mapping[str, Any], result: Mapping[str, Any], taken: dict[str, int]) -> str:
    """Two secrets of a kind as keys mustn't fold into one; ``taken`` has the number at which the next one begins."""
    number = taken.get(key, 1)
    free = key if number == 1 else f"{key}#{number}"
    while free in data or free in result:
        number += 1
        free = f"{key}#{number}"
    taken[key] = number + 1
    return free
