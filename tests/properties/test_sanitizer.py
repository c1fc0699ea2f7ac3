"""Whatever data holds, what the sanitiser returns encodes, decodes to itself, and needs no second pass."""

import collections
import datetime as dt
import types
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sonde.events import decode_data, encode_data, sanitize


class Hostile:
    """Raises from every method that a reader might call."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error

    __str__ = __iter__ = __len__ = __getattr__ = __bool__ = __repr__  # type: ignore[assignment]
    __hash__ = object.__hash__


any_text = st.text(st.characters(codec=None, exclude_categories=())) | st.sampled_from(["", "…", "$replaced", "a/b~"])
hostile = st.sampled_from([ValueError(), RecursionError(), GeneratorExit(), BaseException()]).map(Hostile)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
foreign = (
    any_text
    | st.integers()
    | st.floats()
    | st.binary()
    | st.binary().map(bytearray)
    | st.binary().map(memoryview)
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.complex_numbers()
    | hostile
    | st.just(dt.UTC)
)
keys = any_text | st.integers() | st.booleans() | st.none() | st.floats() | st.binary() | st.tuples(st.integers())


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(collections.deque)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4).map(types.MappingProxyType)
        | st.frozensets(keys, max_size=4)
        | st.sets(keys, max_size=4)
    )


anything = st.recursive(plain | foreign, containers, max_leaves=20)
json_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
json_values = st.recursive(
    plain | json_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_text, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(keys, anything, max_size=5))
def test_the_result_is_json(data: dict[Any, Any]) -> None:
    """The result always encodes, decodes to an equal object, and is plain for the sanitiser itself."""
    result = sanitize(data)
    assert decode_data(encode_data(result)) == result
    assert sanitize(result) is result


@given(st.dictionaries(keys, anything, max_size=5))
def test_no_entry_disappears(data: dict[Any, Any]) -> None:
    """Colliding keys stay distinct: as many entries come out as went in, beside the list of replacements."""
    result = sanitize(data)
    assert len(result) - (result is not data and len(result) > len(data)) == len(data)


@given(st.dictionaries(json_text, json_values, max_size=5))
def test_json_is_left_alone(data: dict[str, Any]) -> None:
    """What JSON can carry comes back as the same object."""
    assert sanitize(data) is data
