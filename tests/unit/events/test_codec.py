"""Canonical JSON and the checksum: the same for the same event, another for any other."""

from typing import Any

import pytest

from sonde.errors import EventEncodeError
from sonde.events import Event, checksum, decode_data, encode_data

EVENT = Event("tool.completed", 5, "s", "p", "t", {"a": 1}, "1" * 32, "2" * 16, "3" * 16)
CHECKSUM = 291_378_213


def test_equal_data_has_one_encoding() -> None:
    """Keys are sorted at every level, whatever their order was."""
    assert encode_data({"b": {"d": 1, "c": 2}, "a": 1}) == encode_data({"a": 1, "b": {"c": 2, "d": 1}})
    assert encode_data({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()


@pytest.mark.parametrize("text", ["null", b"null", "", b"", "{}", b"{}"])
def test_no_data_decodes_to_an_empty_dict(text: str | bytes) -> None:
    """The original's ``null`` and an empty column are no data."""
    assert decode_data(text) == {}


@pytest.mark.parametrize("value", [object(), 1j])
def test_unsanitised_data_is_refused(value: Any) -> None:
    """What JSON cannot carry raises an EventEncodeError that names the remedy."""
    with pytest.raises(EventEncodeError, match="sanitize"):
        encode_data({"v": value})


def test_checksum_is_stable() -> None:
    """The checksum of an event is the same in every process, release and store."""
    assert checksum(EVENT, encode_data(EVENT.data), "w", 1) == CHECKSUM


@pytest.mark.parametrize(
    "other",
    [
        Event("tool.failed", 5, "s", "p", "t", {"a": 1}, "1" * 32, "2" * 16, "3" * 16),
        Event("tool.completed", 6, "s", "p", "t", {"a": 1}, "1" * 32, "2" * 16, "3" * 16),
        Event("tool.completed", 5, "sp", "", "t", {"a": 1}, "1" * 32, "2" * 16, "3" * 16),
        Event("tool.completed", 5, "s", "p", "", {"a": 1}, "1" * 32, "2" * 16, "3" * 16),
        Event("tool.completed", 5, "s", "p", "t", {"a": 2}, "1" * 32, "2" * 16, "3" * 16),
        Event("tool.completed", 5, "s", "p", "t", {"a": 1}, "", "2" * 16, "3" * 16),
        Event("tool.completed", 5, "s", "p", "t", {"a": 1}, "1" * 32, "", "3" * 16),
        Event("tool.completed", 5, "s", "p", "t", {"a": 1}, "1" * 32, "2" * 16, ""),
    ],
)
def test_checksum_covers_every_field(other: Event) -> None:
    """A change to any field is found, and so is a change of identity."""
    mine = checksum(EVENT, encode_data(EVENT.data), "w", 1)
    assert checksum(other, encode_data(other.data), "w", 1) != mine
    assert checksum(EVENT, encode_data(EVENT.data), "w", 2) != mine
    assert checksum(EVENT, encode_data(EVENT.data), "x", 1) != mine
