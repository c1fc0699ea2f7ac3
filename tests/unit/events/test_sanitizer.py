"""The sanitiser: plain data comes back as it is, everything else readable and listed."""

import collections
import dataclasses
import datetime as dt
import enum
import threading
import types
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from sonde.events import decode_data, encode_data, sanitize
from sonde.events.sanitizer import MAX_DEPTH, MAX_NODES, MAX_NOTES
from sonde.events.text import clean_text, is_clean


class Color(enum.Enum):
    RED = (1, 2)


class Kind(enum.StrEnum):
    A = "a"


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Login:
    user: str
    password: str = dataclasses.field(repr=False, default="hunter2")


class Struct(msgspec.Struct):
    a: int
    b: tuple[int, ...] = ()


def replaced(value: Any) -> tuple[Any, str]:
    """What a value under the key ``v`` became, and the reason given."""
    result = sanitize({"v": value})
    assert decode_data(encode_data(result)) == result
    assert sanitize(result) is result
    return result["v"], result["$replaced"]["/v"]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": 7, "none": None},
        {"nested": {"a": [1, [2, {"b": []}]], "text": "zeile\nÜmläut 🎈 \x7f\x01"}},
        {"line\nbreak": 1},  # a key that the quick look cannot clear
        {"min": -(2**63), "max": 2**63 - 1},
        {"$replaced": "mine"},
    ],
)
def test_plain_data_is_not_copied(data: dict[str, Any]) -> None:
    """What JSON can carry comes back as the same object."""
    before = encode_data(data)
    assert sanitize(data) is data
    assert encode_data(data) == before


@pytest.mark.parametrize(
    ("value", "expected", "reason"),
    [
        (float("nan"), "NaN", "NaN as text"),
        (float("inf"), "Infinity", "Infinity as text"),
        (float("-inf"), "-Infinity", "-Infinity as text"),
        (2**63, "9223372036854775808", "int past 64 bits as text"),
        (-(2**63) - 1, "-9223372036854775809", "int past 64 bits as text"),
        (b"caf\xc3\xa9\n", "café\n", "bytes as text (6 bytes)"),
        (b"\xff\x00", "/wA=", "bytes as base64 (2 bytes)"),
        (b"a\0", "YQA=", "bytes as base64 (2 bytes)"),
        (bytearray(b"ab"), "ab", "bytearray as text (2 bytes)"),
        (memoryview(b"abcd")[::2], "ac", "memoryview as text (2 bytes)"),
        ({3, 1, 2}, [1, 2, 3], "set as list"),
        (frozenset("ba"), ["a", "b"], "frozenset as list"),
        ((1, 2), [1, 2], "tuple as list"),
        (Point(1, 2), {"x": 1, "y": 2}, "named tuple as object"),
        (collections.deque([1]), [1], "deque as list"),
        (range(3), [0, 1, 2], "range as list"),
        (types.MappingProxyType({"a": 1}), {"a": 1}, "mappingproxy as object"),
        ({"a": 1}.keys(), ["a"], "dict_keys as list"),
        ("a\0b", "a\\u0000b", "NUL or lone surrogate as escape"),
        ("\ud83d", "\\ud83d", "NUL or lone surrogate as escape"),
        (dt.datetime(2026, 2, 11, 9, 30, tzinfo=dt.UTC), "2026-02-11T09:30:00+00:00", "datetime as text"),
        (dt.date(2026, 2, 11), "2026-02-11", "date as text"),
        (dt.time(9, 30), "09:30:00", "time as text"),
        (dt.timedelta(minutes=1), 60.0, "timedelta as seconds"),
        (Path("/tmp/x"), "/tmp/x", "path as text"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", "UUID as text"),
        (Decimal("1.50"), "1.50", "Decimal as text"),
        (Fraction(1, 3), "1/3", "Fraction as text"),
        (ValueError("no"), "ValueError: no", "exception as text"),
        (Color.RED, [1, 2], "enum Color as its value"),
        (Login("ann"), {"user": "ann"}, "Login as object"),
        (Struct(1), {"a": 1, "b": []}, "Struct as object"),
        (1 + 2j, "(1+2j)", "complex as repr"),
        (len, "<built-in function len>", "builtin_function_or_method as repr"),
    ],
)
def test_what_json_cannot_carry_becomes_readable(value: Any, expected: Any, reason: str) -> None:
    """Each kind of foreign value has its readable form, and its path is listed with a reason."""
    assert replaced(value) == (expected, reason)


@pytest.mark.parametrize("value", [Kind.A, Level.LOW, collections.Counter("aab"), collections.OrderedDict(a=1)])
def test_subclasses_become_what_they_are(value: Any) -> None:
    """A subclass of a JSON type is copied as that type; nothing is lost, so nothing is listed."""
    data = {"v": value}
    result = sanitize(data)
    assert result == data
    assert type(result["v"]) in (str, int, dict)
    assert "$replaced" not in result


def test_hostile_subclasses_are_read_through_the_built_in() -> None:
    """A subclass that lies in its methods cannot get in the way."""

    class Text(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __str__(self) -> str:
            raise ValueError

        def __eq__(self, other: object) -> bool:
            raise ValueError

    class List(list[int]):
        def __iter__(self) -> Any:
            raise ValueError

        def __len__(self) -> int:
            raise ValueError

    class Dict(dict[str, int]):
        def items(self) -> Any:
            raise ValueError

    assert sanitize({"a": Text("x"), "b": List([1]), "c": Dict(d=1)}) == {"a": "x", "b": [1], "c": {"d": 1}}


def test_keys_become_text_and_stay_distinct() -> None:
    """Keys that are no text become text as JSON writes it; a text key keeps its name when they collide."""
    result = sanitize({1: "int", "1": "text", None: 0, False: 0, (1, 2): 0, b"x": 0, Kind.A: 0, "n\0": 0, 1.5: 0})
    notes = result.pop("$replaced")
    assert result == {
        "1#2": "int",
        "1": "text",
        "null": 0,
        "false": 0,
        "(1, 2)": 0,
        "x": 0,
        "a": 0,
        "n\\u0000": 0,
        "1.5": 0,
    }
    assert notes["/1#2"] == "int key as text"
    assert "/a" not in notes
    assert "/1" not in notes


def test_paths_are_json_pointers() -> None:
    """Slash and tilde in keys are escaped, indices count from 0."""
    assert sanitize({"a/b": [{"~": float("nan")}]})["$replaced"] == {"/a~1b/0/~0": "NaN as text"}


def test_a_cycle_is_cut_where_it_closes() -> None:
    """A container that holds itself is named instead of followed; one that merely appears twice is copied twice."""
    ring: list[Any] = [1]
    ring.append({"back": ring})
    twice = {"x": (1,)}
    result = sanitize({"ring": ring, "a": twice, "b": twice})
    assert result["ring"] == [1, {"back": "<cycle: /ring>"}]
    assert result["$replaced"]["/ring/1/back"] == "cycle"
    assert result["a"] == result["b"] == {"x": [1]}


def test_depth_ends_at_the_limit() -> None:
    """A hundred levels are kept, the next is named; far deeper data does no harm."""

    def nest(levels: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for _ in range(levels - 1):
            data = {"d": data}
        return data

    assert sanitize(fits := nest(MAX_DEPTH)) is fits
    for levels in (MAX_DEPTH + 1, 50_000):
        result = sanitize(nest(levels))
        (reason,) = result["$replaced"].values()
        assert reason == "depth past 100"
        assert sanitize(result) is result
        assert b"<dict: deeper than 100 levels>" in encode_data(result)


def test_very_wide_data_is_cut_with_a_mark() -> None:
    """Past the limit on values, the rest is left out, counted in place and listed."""
    result = sanitize({"head": 1, "wide": list(range(MAX_NODES * 3)), "tail": {"a": 1}})
    assert len(result["wide"]) < MAX_NODES + 1
    assert result["wide"][-1] == f"<{MAX_NODES * 3 - len(result['wide']) + 1:,} more left out>"
    assert "left out" in result["$replaced"]["/wide"]
    assert result["…"] == "<1 more left out>"
    assert sanitize(result) is result


def test_an_endless_mapping_is_cut() -> None:
    """A foreign container that never ends is read up to the limit."""

    class Endless(collections.abc.Sequence[int]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: Any) -> int:
            return 7

    assert len(sanitize({"v": Endless()})["v"]) <= MAX_NODES + 1


def test_the_list_of_replaced_paths_is_bounded() -> None:
    """A hundred paths are named, the others counted."""
    notes = sanitize({"v": [float("nan")] * 250})["$replaced"]
    assert len(notes) == MAX_NOTES + 1
    assert notes["…"] == "150 more"


def test_a_key_of_that_name_survives() -> None:
    """A user's own ``$replaced`` stays where it is; the list makes way."""
    result = sanitize({"$replaced": "mine", "v": (1,)})
    assert result == {"$replaced": "mine", "v": [1], "$$replaced": {"/v": "tuple as list"}}


@pytest.mark.parametrize("error", [ValueError, RecursionError, GeneratorExit, type("Own", (BaseException,), {})])
def test_an_object_that_raises_is_named(error: type[BaseException]) -> None:
    """Whatever an object's methods raise ends at that object; its neighbours are recorded."""

    class Hostile:
        def __repr__(self) -> str:
            raise error

        __str__ = __len__ = __iter__ = __hash__ = __eq__ = __repr__  # type: ignore[assignment]

        @property
        def __class__(self) -> Any:
            raise error

    class Map(collections.abc.Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            raise error

        def __iter__(self) -> Any:
            raise error

        def __len__(self) -> int:
            raise error

    result = sanitize({"a": Hostile(), "b": Map(), "c": 1})
    name = error.__name__
    assert result["a"] == f"<Hostile: {name} while it was read>"
    assert result["b"] == f"<Map: {name} while it was read>"
    assert result["c"] == 1
    assert result["$replaced"]["/a"] == "unreadable Hostile"


def test_a_key_that_raises_is_named() -> None:
    """A key whose repr raises becomes a text that says so."""

    class Key:
        def __repr__(self) -> str:
            raise OSError

    assert list(sanitize({Key(): 1})) == ["<Key: OSError while it was read>", "$replaced"]  # type: ignore[dict-item]


def test_a_keyboard_interrupt_passes_through() -> None:
    """Ctrl-C during a slow ``__repr__`` is the user's, not the object's."""

    class Slow:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sanitize({"v": Slow()})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_in_other_threads_an_interrupt_is_the_objects_own(error: type[BaseException]) -> None:
    """Signals arrive in the main thread only: elsewhere it ends at the object, and not the thread."""

    class Hostile:
        def __repr__(self) -> str:
            raise error

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(sanitize, {"v": Hostile(), "k": {Hostile(): 1}, "c": 1}).result()
    assert result["v"] == f"<Hostile: {error.__name__} while it was read>"
    assert list(result["k"]) == [f"<Hostile: {error.__name__} while it was read>"]
    assert result["c"] == 1


def test_long_binary_and_repr_are_cut() -> None:
    """Bytes are kept up to 64 KiB without splitting a character, a repr up to 2,000 characters; the reason tells."""
    text, reason = replaced(b"a" + "é".encode() * 50_000)
    assert text == "a" + "é" * 32_767
    assert reason == "bytes as text (100,001 bytes, first 65,536 kept)"

    class Long:
        def __repr__(self) -> str:
            return "x" * 1_000_000

    assert len(replaced(Long())[0]) == 2_001


def test_an_enormous_integer_is_cut() -> None:
    """An integer past the digits that Python converts to text is shown in hexadecimal, cut."""
    text, reason = replaced(1 << 100_000)
    assert text.startswith("0x1000")
    assert len(text) < 5_000
    assert reason == "int past 64 bits as hexadecimal text, cut"


def test_data_that_is_no_dict_is_wrapped() -> None:
    """A caller that passes something else than a dict loses nothing."""
    assert sanitize([1]) == {"value": [1], "$replaced": {"": "list as object"}}  # type: ignore[arg-type]


def test_pydantic_and_attrs_like_objects_are_read_by_their_fields() -> None:
    """Models are objects with fields, recognised without importing their packages; hidden fields stay hidden."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        name: str
        key: str = pydantic.Field("k", repr=False)

    class Attribute(NamedTuple):
        name: str
        repr: bool

    class Attrs:
        __attrs_attrs__ = (Attribute("a", repr=True), Attribute("b", repr=False), Attribute("unset", repr=True))
        a, b = 1, 2

    assert replaced(Model(name="n")) == ({"name": "n"}, "Model as object")
    assert replaced(Attrs()) == ({"a": 1}, "Attrs as object")


def test_a_dict_that_changes_meanwhile_is_recorded() -> None:
    """Another thread that goes on changing the data can make it stale, but never an error."""
    shared: dict[str, Any] = {str(i): (i,) for i in range(200)}
    stop = threading.Event()

    def churn() -> None:
        n = 0
        while not stop.is_set():
            shared[f"k{n % 50}"] = n
            shared.pop(f"k{(n + 25) % 50}", None)
            n += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(200):
            result = sanitize({"shared": shared})
            assert result["shared"]["0"] == [0]
    finally:
        stop.set()
        thread.join()


def test_a_container_that_always_changes_is_named() -> None:
    """A container that changes at every attempt to read it is marked, after a few attempts."""
    attempts = []

    class Restless(collections.abc.Sequence[int]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: Any) -> int:
            raise IndexError

        def __iter__(self) -> Any:
            attempts.append(1)
            raise RuntimeError("changed size during iteration")

    assert sanitize({"v": Restless()})["v"] == "<Restless: RuntimeError while it was read>"
    assert len(attempts) == 5


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 150_000])
def test_a_long_text_is_cleaned_piece_by_piece(place: int) -> None:
    """A NUL or lone surrogate is found wherever the pieces end that a long text is looked at in."""
    long = "é" * 150_000
    assert is_clean(long)
    assert clean_text(long) == long
    for unfit, seen in (("\0", "\\u0000"), ("\ud800", "\\ud800")):
        text = f"{long[:place]}{unfit}{long[place:]}"
        assert not is_clean(text)
        assert clean_text(text) == f"{long[:place]}{seen}{long[place:]}"
