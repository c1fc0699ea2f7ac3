"""What foreign objects become: a text or number (:class:`Leaf`), or a container to be walked (:class:`Shape`).

Nothing here trusts an object. Subclasses of the built-in types are read through the built-in's own methods, classes are
looked up by ``type()`` and not by ``__class__``, and what may still raise is raised to the caller, who contains it.
Packages such as pydantic, attrs or numpy are recognised by what their classes carry, never imported.
"""

from __future__ import annotations

import base64
import codecs
import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import chain, islice
from numbers import Integral, Real
from pathlib import PurePath
from threading import get_ident, main_thread
from typing import Any, NamedTuple
from uuid import UUID

from sonde.events.text import clean_text, is_clean

MAX_BYTES = 65_536
"""Bytes of a binary value that are kept."""

MAX_REPR = 2_000
"""Characters of a foreign object's ``repr`` that are kept."""

_MAX_DIGITS = 4_000  # below the limit that CPython sets to the conversion of an int to text
# Without tab, newlines and escape: a terminal's output is text.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
_SORTABLE = 10_000  # a bigger set keeps its own order
_class_name = type.__dict__["__name__"].__get__


class Leaf(NamedTuple):
    """A value that holds no others. An empty ``reason``: JSON says the same, nothing to list."""

    value: str | int | float | None
    reason: str


class Shape(NamedTuple):
    """A container: its entries (pairs, if ``keyed``), made anew at each call of ``entries``."""

    entries: Callable[[], Iterable[Any]]
    keyed: bool
    reason: str = ""
    size: int = 0
    exact: bool = False


def type_name(value: object) -> str:
    """The name of an object's class, whatever its metaclass says."""
    return clean_text(_class_name(type(value)), 100)


def recognize(value: Any) -> Leaf | Shape:
    """What ``value`` is. May raise whatever the object raises."""
    kind = type(value)
    for known, convert in _BUILT_IN:
        if issubclass(kind, known):
            return convert(value)
    fields = _fields(kind)
    if fields is not None:
        return Shape(lambda: _read_fields(value, fields), keyed=True, reason=f"{type_name(value)} as object")
    for known, convert in _OTHERS:
        if issubclass(kind, known):
            return convert(value)
    return Leaf(clean_text(_exact_text(repr(value)), MAX_REPR), f"{type_name(value)} as repr")


def key_text(key: Any) -> tuple[str, str]:
    """The text for a key that is no clean ``str``, and why (empty for a clean subclass of ``str``). Never raises."""
    if issubclass(type(key), str):
        leaf = _text(key)
        return str(leaf.value), leaf.reason
    name = type_name(key)
    try:
        if type(key) is bool or key is None:
            text = str(key).lower() if key is not None else "null"
        else:
            found = recognize(key)
            text = str(found.value) if isinstance(found, Leaf) else clean_text(_exact_text(repr(key)), MAX_REPR)
    except BaseException as error:  # a user's object may raise anything
        if may_be_a_signals(error):
            raise
        return f"<{name}: {type_name(error)} while it was read>", f"unreadable {name} key"
    return text, f"{name} key as text"


def may_be_a_signals(error: BaseException) -> bool:
    """Whether ``error`` may be a signal handler's, as of Ctrl-C: these run in the main thread only.

    In any other thread it is the object's own, and must not end that thread.
    """
    return isinstance(error, (KeyboardInterrupt, SystemExit)) and get_ident() == main_thread().ident


def _exact_text(text: str) -> str:
    return str.__str__(text)


# --- built-in types and their subclasses, through the built-in's own methods ------------------------------------------


def _text(value: str) -> Leaf:
    text = str.__str__(value)
    return Leaf(text, "") if is_clean(text) else Leaf(clean_text(text), "NUL or lone surrogate as escape")


def _integer(value: int) -> Leaf:
    number = int.__int__(value)
    if -(2**63) <= number < 2**63:
        return Leaf(number, "")
    if number.bit_length() > _MAX_DIGITS * 3:  # more than three bits a digit
        return Leaf(f"{number:#x}"[:_MAX_DIGITS] + "…", "int past 64 bits as hexadecimal text, cut")
    return Leaf(str(number), "int past 64 bits as text")


def _float(value: float) -> Leaf:
    number = float.__float__(value)
    if number - number == 0.0:
        return Leaf(number, "")
    text = "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"  # noqa: PLR0124 - only NaN differs from itself
    return Leaf(text, f"{text} as text")


def _bytes(value: bytes) -> Leaf:
    return _binary(bytes.__getitem__(value, slice(MAX_BYTES)), bytes.__len__(value), "bytes")


def _bytearray(value: bytearray) -> Leaf:
    return _binary(bytes(bytearray.__getitem__(value, slice(MAX_BYTES))), bytearray.__len__(value), "bytearray")


def _memoryview(value: memoryview) -> Leaf:
    if value.c_contiguous and value.nbytes:
        return _binary(value.cast("B")[:MAX_BYTES].tobytes(), value.nbytes, "memoryview")
    return _binary(value.tobytes()[:MAX_BYTES], value.nbytes, "memoryview")


def _binary(kept: bytes, size_bytes: int, name: str) -> Leaf:
    """Text if it is printable UTF-8, else base64; the reason tells the size."""
    cut = f", first {len(kept):,} kept" if size_bytes > len(kept) else ""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(kept, final=not cut)
    except UnicodeDecodeError:
        text = None
    if text is None or _CONTROL.search(text):
        return Leaf(base64.b64encode(kept).decode(), f"{name} as base64 ({size_bytes:,} bytes{cut})")
    return Leaf(text, f"{name} as text ({size_bytes:,} bytes{cut})")


def _dict(value: dict[Any, Any]) -> Shape:
    return Shape(lambda: dict.items(value), keyed=True, size=dict.__len__(value), exact=type(value) is dict)


def _list(value: list[Any]) -> Shape:
    return Shape(lambda: list.__iter__(value), keyed=False, size=list.__len__(value), exact=type(value) is list)


def _tuple(value: tuple[Any, ...]) -> Shape:
    names = getattr(type(value), "_fields", None)
    size = tuple.__len__(value)
    if type(names) is tuple and len(names) == size and all(type(name) is str for name in names):
        pairs = list(zip(names, tuple.__iter__(value), strict=True))
        return Shape(lambda: pairs, keyed=True, reason="named tuple as object", size=size)
    return Shape(lambda: tuple.__iter__(value), keyed=False, reason="tuple as list", size=size)


def _set(value: set[Any]) -> Shape:
    return Shape(lambda: _in_order(set.__iter__(value)), keyed=False, reason="set as list", size=set.__len__(value))


def _frozenset(value: frozenset[Any]) -> Shape:
    size = frozenset.__len__(value)
    return Shape(lambda: _in_order(frozenset.__iter__(value)), keyed=False, reason="frozenset as list", size=size)


def _enum(value: Enum) -> Leaf | Shape:
    return recognize(value._value_)._replace(reason=f"enum {type_name(value)} as its value")


_BUILT_IN: list[tuple[type, Callable[[Any], Leaf | Shape]]] = [
    (str, _text),
    (int, _integer),
    (float, _float),
    (bytes, _bytes),
    (bytearray, _bytearray),
    (memoryview, _memoryview),
    (dict, _dict),
    (list, _list),
    (tuple, _tuple),
    (set, _set),
    (frozenset, _frozenset),
    (Enum, _enum),
]

# --- other containers, and values of the standard library -----------------------------------------------------------


def _as_text(name: str, write: Callable[[Any], str]) -> Callable[[Any], Leaf]:
    return lambda value: Leaf(clean_text(_exact_text(write(value)), MAX_REPR), f"{name} as text")


def _mapping(value: Any) -> Shape:
    return Shape(lambda: _pairs(value), keyed=True, reason=f"{type_name(value)} as object")


def _sequence(value: Any) -> Shape:
    return Shape(lambda: iter(value), keyed=False, reason=f"{type_name(value)} as list")


def _foreign_set(value: Any) -> Shape:
    return Shape(lambda: _in_order(iter(value)), keyed=False, reason=f"{type_name(value)} as list")


_OTHERS: list[tuple[type, Callable[[Any], Leaf | Shape]]] = [
    (Mapping, _mapping),
    (Sequence, _sequence),
    (deque, _sequence),
    (Set, _foreign_set),
    (datetime, _as_text("datetime", datetime.isoformat)),
    (date, _as_text("date", date.isoformat)),
    (time, _as_text("time", time.isoformat)),
    (timedelta, lambda value: Leaf(timedelta.total_seconds(value), "timedelta as seconds")),
    (PurePath, _as_text("path", str)),
    (UUID, _as_text("UUID", str)),
    (Decimal, _as_text("Decimal", str)),
    (Fraction, _as_text("Fraction", str)),
    (BaseException, _as_text("exception", lambda error: f"{type_name(error)}: {_exact_text(str(error))}")),
    (Integral, lambda value: _integer(int(value))._replace(reason=f"{type_name(value)} as number")),
    (Real, lambda value: _float(float(value))._replace(reason=f"{type_name(value)} as number")),
]

# --- objects with declared fields -------------------------------------------------------------------------------------


def _fields(kind: type) -> list[str] | None:
    """The declared fields of a dataclass, a msgspec Struct, an attrs class or a pydantic model.

    Those hidden from ``repr`` stay hidden, as they are hidden for a reason (passwords).
    """
    found = getattr(kind, "__dataclass_fields__", None)
    if isinstance(found, dict):
        return [field.name for field in dataclasses.fields(kind) if field.repr]
    found = getattr(kind, "__struct_fields__", None)
    if isinstance(found, tuple):
        return list(found)
    found = getattr(kind, "__attrs_attrs__", None)
    if isinstance(found, tuple):
        return [field.name for field in found if field.repr is not False]
    found = getattr(kind, "__pydantic_fields__", None)
    if isinstance(found, dict):
        return [name for name, field in found.items() if field.repr and not field.exclude]
    return None


def _read_fields(value: Any, names: list[str]) -> list[tuple[str, Any]]:
    missing = object()
    found = [(name, getattr(value, name, missing)) for name in names]
    return [(name, item) for name, item in found if item is not missing]


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    for pair in value.items():
        key, item = pair
        yield key, item


def _in_order(items: Iterator[Any]) -> Iterable[Any]:
    """A set's items, sorted if they can be: the same set then gives the same JSON."""
    found = list(islice(items, _SORTABLE + 1))
    if len(found) > _SORTABLE:
        return chain(found, items)
    try:
        return sorted(found)
    except Exception:  # noqa: BLE001 - of different types, or objects that refuse: their own order will do
        return found
