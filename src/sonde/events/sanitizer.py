"""Sanitiser: turn what JSON cannot carry into something readable, and say where.

Two paths. :func:`sanitize` first only looks; nearly all data is plain, and then the very object comes back. What is
not is copied by :class:`_Copy`, value by value. The look is conservative: what it cannot clear cheaply goes to the
copy, and if that changed nothing the original comes back after all.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from sonde.events.foreign import Leaf, Shape, key_text, may_be_a_signals, recognize, type_name
from sonde.events.text import clean_text, is_clean

MAX_DEPTH = 100
"""Containers within containers; the data itself is the first."""

MAX_NODES = 100_000
"""Values in one event; the rest is left out, with a visible mark."""

MAX_NOTES = 100
"""Replaced paths that are named; the rest is counted under ``…``."""

MAX_PATH = 200
"""Characters of a replaced path that are kept."""

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
# The marks and notes that a copy adds must not push it over the limit when it is looked at again.
_NODES_AT_A_GLANCE = MAX_NODES + 2 * (MAX_DEPTH + MAX_NOTES)
_SNAPSHOT_ATTEMPTS = 5
_MORE = "…"


def sanitize(data: dict[str, Any]) -> dict[str, Any]:  # noqa: PLR0912 - a call for each value would double its time
    """``data`` as JSON can carry it: the same object if it can already, else a copy.

    In the copy, ``$replaced`` maps the path of each replaced value (as a JSON pointer) to what was done: the first 100,
    and under ``…`` how many more. A key ``$replaced`` of the user's own stays; the list is then called ``$$replaced``.
    Subclasses of ``str``, ``int``, ``float``, ``dict`` and ``list`` are copied as what they are, which loses nothing
    and is not listed.

    Never raises for what ``data`` holds or for what its objects do (a ``KeyboardInterrupt`` or ``SystemExit`` passes
    through). Thread-safe. Some 0.5 µs for four plain keys; foreign objects run their own ``__repr__``. What another
    thread changes meanwhile is recorded as it was at some moment of the call.

    >>> plain = {"tool": "read_file", "ok": True}
    >>> sanitize(plain) is plain
    True
    >>> sanitize({"ratio": float("nan"), "seen": {2, 1}})
    {'ratio': 'NaN', 'seen': [1, 2], '$replaced': {'/ratio': 'NaN as text', '/seen': 'set as list'}}
    """
    if type(data) is dict:
        nested: list[Any] | None = None
        try:
            for key, value in data.items():
                if type(key) is str and key.isprintable():
                    kind = type(value)
                    if kind is str:
                        if (value.isascii() and "\0" not in value) or is_clean(value):
                            continue
                    elif kind is int:
                        if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:  # literals: no look-up of globals
                            continue
                    elif kind is float:
                        if value - value == 0.0:  # the cheapest test for finite
                            continue
                    elif kind is bool or value is None:
                        continue
                    elif kind is dict or kind is list:
                        if nested is None:
                            nested = [value]
                        else:
                            nested.append(value)
                        continue
                break
            else:
                if len(data) <= _NODES_AT_A_GLANCE and (nested is None or _all_plain(nested, len(data))):
                    return data
        except RuntimeError:
            pass  # changed while we looked: the copy takes a snapshot
    return _Copy().run(data)


def _all_plain(level: list[Any], nodes: int) -> bool:  # noqa: PLR0912 - as above
    """Whether these containers need no change, level by level: a cycle ends at the depth limit."""
    for _ in range(MAX_DEPTH - 1):
        below: list[Any] = []
        for container in level:
            nodes += len(container)
            if nodes > _NODES_AT_A_GLANCE:
                return False
            if type(container) is dict:
                for key in container:
                    if type(key) is not str or not key.isprintable():
                        return False
                values: Any = container.values()
            else:
                values = container
            for value in values:
                kind = type(value)
                if kind is str:
                    if not ((value.isascii() and "\0" not in value) or is_clean(value)):
                        return False
                elif kind is int:
                    if not -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
                        return False
                elif kind is float:
                    if value - value != 0.0:
                        return False
                elif kind is dict or kind is list:
                    below.append(value)
                elif kind is not bool and value is not None:
                    return False
        if not below:
            return True
        level = below
    return False


class _Copy:
    """One sanitised copy in the making."""

    def __init__(self) -> None:
        self.changed = False
        self.nodes_left = MAX_NODES
        self.notes: dict[str, str] = {}
        self.notes_more = 0
        self.open: dict[int, str] = {}  # the containers that we are inside of, by identity: a cycle comes back to one

    def run(self, data: Any) -> dict[str, Any]:
        result = self.value(data, "", 1)
        if type(result) is not dict:
            self.note("", f"{type_name(data)} as object")
            result = {"value": result}
        elif not self.changed and type(data) is dict:
            return data
        if self.notes:
            if self.notes_more:
                self.notes[_MORE] = f"{self.notes_more:,} more"
            name = "$replaced"
            while name in result:
                name = "$" + name
            result[name] = self.notes
        return result

    def note(self, path: str, reason: str) -> None:
        """List a replaced path."""
        self.changed = True
        if len(path) > MAX_PATH:
            path = path[:MAX_PATH] + _MORE
        known = self.notes.get(path)
        if known is not None and len(known) <= MAX_PATH:
            self.notes[path] = f"{known}; {reason}"
        elif known is None and len(self.notes) < MAX_NOTES:
            self.notes[path] = reason
        else:
            self.notes_more += 1

    def value(self, value: Any, path: str, depth: int) -> Any:
        """``value`` as JSON can carry it. Whatever a foreign object raises ends here, at the object itself."""
        kind = type(value)
        if kind is str:
            if is_clean(value):
                return value
            self.note(path, "NUL or lone surrogate as escape")
            return clean_text(value)
        if kind is bool or value is None or (kind is int and _INT_MIN <= value <= _INT_MAX):
            return value
        if kind is float and value - value == 0.0:
            return value
        try:
            found = recognize(value)
            if isinstance(found, Leaf):
                return self.leaf(found, path)
            return self.container(value, found, path, depth)
        except BaseException as error:  # a user's object may raise anything, and must not end the writer
            if may_be_a_signals(error):
                raise
            self.note(path, f"unreadable {type_name(value)}")
            return f"<{type_name(value)}: {type_name(error)} while it was read>"

    def leaf(self, leaf: Leaf, path: str) -> Any:
        self.changed = True
        if leaf.reason:
            self.note(path, leaf.reason)
        return leaf.value

    def container(self, value: Any, shape: Shape, path: str, depth: int) -> Any:
        if id(value) in self.open:
            self.note(path, "cycle")
            return f"<cycle: {self.open[id(value)][:MAX_PATH] or '/'}>"
        if depth > MAX_DEPTH:
            self.note(path, f"depth past {MAX_DEPTH}")
            return f"<{type_name(value)}: deeper than {MAX_DEPTH} levels>"
        entries = self.snapshot(shape)
        total = max(len(entries), shape.size)
        if shape.reason:
            self.note(path, shape.reason)
        elif not shape.exact:
            self.changed = True
        self.open[id(value)] = path
        try:
            return self.object(entries, total, path, depth) if shape.keyed else self.array(entries, total, path, depth)
        finally:
            del self.open[id(value)]

    def snapshot(self, shape: Shape) -> list[Any]:
        """What the container holds right now, up to what may still be kept; another thread may be changing it."""
        for attempt in range(_SNAPSHOT_ATTEMPTS):
            try:
                return list(islice(shape.entries(), self.nodes_left + 1))
            except RuntimeError:  # "changed size during iteration"
                if attempt == _SNAPSHOT_ATTEMPTS - 1:
                    raise
        return []

    def array(self, entries: list[Any], total: int, path: str, depth: int) -> list[Any]:
        result: list[Any] = []
        for index, item in enumerate(entries):
            if self.nodes_left <= 0:
                result.append(self.left_out(total - index, path))
                break
            self.nodes_left -= 1
            result.append(self.value(item, f"{path}/{index}", depth + 1))
        return result

    def object(self, entries: list[tuple[Any, Any]], total: int, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        # A text key keeps its name, whichever comes first; what becomes text makes way.
        taken = {key for key, _ in entries if type(key) is str}
        attempts: dict[str, int] = {}
        for index, (key, item) in enumerate(entries):
            if self.nodes_left <= 0:
                name = _MORE
                while name in taken:
                    name += _MORE
                result[name] = self.left_out(total - index, path)
                break
            self.nodes_left -= 1
            if type(key) is str and is_clean(key):
                name, reason = key, ""
            else:
                self.changed = True
                text, reason = key_text(key)
                name = text
                while name in taken:
                    attempts[text] = attempts.get(text, 1) + 1
                    name = f"{text}#{attempts[text]}"
                    reason = reason or "key renamed"
                taken.add(name)
            below = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            if reason:
                self.note(below, reason)
            result[name] = self.value(item, below, depth + 1)
        return result

    def left_out(self, count: int, path: str) -> str:
        self.note(path, f"entries left out: more than {MAX_NODES:,} values in one event")
        return f"<{count:,} more left out>"
