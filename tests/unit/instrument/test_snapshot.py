"""Snapshots: arguments as they were at the call, at a bounded cost, whatever they are."""

from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

from sonde.events import Event
from sonde.instrument import Operations, snapshot


class BrokenError(BaseException):
    """Not even an ``Exception``: it would pass any net, so nothing of the agent's may be called."""


def broken(*_: object) -> Any:
    raise BrokenError


def breaking(base: type) -> Any:
    """A subclass whose own methods all raise."""
    names = ["__iter__", "__len__", "__repr__", "__str__", "__eq__", "__bool__", "__contains__", "__getitem__"]
    names += ["items", "keys", "values", "copy", "__copy__", "__deepcopy__", "__reduce__", "__class__"]
    body: dict[str, Any] = dict.fromkeys(names, broken)
    body["__class__"] = property(broken)
    return type("Breaking", (base,), body)


def test_later_changes_are_not_recorded(rec: Operations, events: list[Event]) -> None:
    """What the agent does to its lists after the call, in the block or after ``set``, is not in the events."""
    todo: list[Any] = ["read", {"deep": [1]}]
    with rec.tool("x", todo=todo) as op:
        op.set(result=todo)
        todo[1]["deep"].append(2)
        todo.clear()
    assert events[0].data["args"] == {"todo": ["read", {"deep": [1]}]}
    assert events[1].data["result"] == ["read", {"deep": [1]}]


def test_a_decorated_call_is_recorded_as_it_began(rec: Operations, events: list[Event]) -> None:
    """A function that changes its argument and returns it is recorded with both states."""

    @rec.tool
    def drain(items: list[int]) -> list[int]:
        items.pop()
        return items

    drain([1, 2])
    assert (events[0].data["args"], events[1].data["result"]) == ({"items": [1, 2]}, [1])


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ([1, [2]], [1, [2]]),
        ((1, [2]), (1, [2])),
        ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
        ({1, 2}, {1, 2}),
        (frozenset({1}), {1}),
        (deque([1, 2], maxlen=2), [1, 2]),
        (bytearray(b"ab"), b"ab"),
        (OrderedDict(a=[1]), {"a": [1]}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (namedtuple("Point", "x y")(1, [2]), (1, [2])),
        ({(1, 2): 3, None: 4}, {(1, 2): 3, None: 4}),
        ([], []),
    ],
    ids=repr,
)
def test_containers_become_plain_copies(value: Any, kept: Any) -> None:
    """Each container and its subclasses are copied into the plain type."""
    taken = snapshot(value)
    assert taken == kept
    assert type(taken) is type(kept)
    assert taken is not value


def test_other_objects_are_kept_by_reference() -> None:
    """Texts can't change; a foreign object is made readable later."""
    text, thing, mapping = "x" * 1_000_000, object(), UserDict(a=1)
    taken = snapshot([text, thing, mapping])
    assert all(one is other for one, other in zip(taken, (text, thing, mapping), strict=True))


def test_what_is_left_out_leaves_a_mark() -> None:
    """1,000 values and 20 levels are kept; the rest is named with its size."""
    assert snapshot(list(range(5_000)))[998:] == [998, 999, "… 4,000 more"]
    large = snapshot({number: number for number in range(5_000)})
    assert (len(large), large["$truncated"]) == (1_001, "4,000 more keys")
    assert snapshot(set(range(5_000)))[-1] == "… 4,000 more"
    assert snapshot(bytearray(70_000))["$truncated"] == "4,464 more bytes"
    many = snapshot([[1] * 600, [2] * 600, {"a": 1}])
    assert (len(many[0]), many[1][-1], many[2]) == (600, "… 203 more", {"$truncated": "1 more keys"})


def test_a_deep_or_circular_value_ends() -> None:
    """A container that holds itself ends in a mark after 20 levels."""
    circle: list[Any] = []
    circle.append(circle)
    taken, levels = snapshot(circle), 0
    while isinstance(taken, list):
        taken, levels = taken[0], levels + 1
    assert (taken, levels) == ("… list nested deeper than 20", 20)


@pytest.mark.parametrize("base", [dict, list, tuple, set, frozenset, deque])
def test_broken_subclasses_are_read_all_the_same(base: type) -> None:
    """The methods of a subclass are never called, whatever they raise."""
    source: Any = {"a": 1} if base is dict else ["a", 1]
    value = breaking(base)(source)
    taken = snapshot([value, breaking(object)()])[0]
    assert taken == (source if base in (dict, list, deque) else (set if base in (set, frozenset) else base)(source))


def test_broken_keys_are_numbered() -> None:
    """A key whose hash raises at the second asking loses its place to a name, not its value."""

    class Key:
        asked = 0

        def __hash__(self) -> int:
            self.asked += 1
            if self.asked > 1:
                raise ValueError("moved")
            return 1

    taken = snapshot({Key(): "value", "a": 1})
    assert taken == {"$key 0": "value", "a": 1}
