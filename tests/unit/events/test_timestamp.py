"""Timestamps: Go's forms in, Go's RFC 3339 out, no nanosecond lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.errors import EventDecodeError
from sonde.events import format_timestamp, parse_timestamp

MOMENT_NS = 1_770_802_200_630_343_314


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-11 09:30:00.630343314 +0000 UTC m=+0.012345678",
        "2026-02-11 09:30:00.630343314 +0000 UTC m=-1.5",
        "2026-02-11 09:30:00.630343314 +0000 UTC",
        "2026-02-11 09:30:00.630343314+00:00",
        "2026-02-11T09:30:00.630343314Z",
        "2026-02-11 09:30:00.630343314",
        "2026-02-11 10:30:00.630343314 +0100 CET",
        "2026-02-11 05:30:00.630343314 -0400 -04",
        "2026-02-11T04:00:00.630343314-05:30",
        "2026-02-11t09:30:00,6303433149z",
        "  2026-02-11T09:30:00.630343314Z\n",
    ],
)
def test_every_form_of_the_original_is_read(text: str) -> None:
    """Go's ``String()`` with and without the monotonic reading, SQL's form, RFC 3339 and offsets mean one moment."""
    assert parse_timestamp(text) == MOMENT_NS


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (500_000_000, "1970-01-01T00:00:00.5Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_770_802_200_630_343_310, "2026-02-11T09:30:00.63034331Z"),
    ],
)
def test_text_is_as_go_writes_it(time_ns: int, text: str) -> None:
    """Nanoseconds without trailing zeros, no fraction for whole seconds, ``Z``."""
    assert format_timestamp(time_ns) == text
    assert parse_timestamp(text) == time_ns


def test_go_zero_time_is_no_time() -> None:
    """Go's zero time means that no time was set."""
    assert parse_timestamp("0001-01-01T00:00:00Z") == 0
    assert parse_timestamp("0001-01-01 00:00:00 +0000 UTC") == 0


def test_a_leap_second_is_the_next_second() -> None:
    """23:59:60 is the moment before midnight's first second, as Unix time has it."""
    assert parse_timestamp("2016-12-31T23:59:60Z") == parse_timestamp("2017-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-02-30T00:00:00Z", "2026-02-11", "1770802200", "2026-13-01 00:00:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """The error shows the offending text."""
    with pytest.raises(EventDecodeError, match="cannot read timestamp") as caught:
        parse_timestamp(text)
    assert repr(text) in str(caught.value)


@given(st.integers(-62_135_596_800 * 10**9 + 366 * 86_400 * 10**9, 253_402_300_799 * 10**9))
def test_round_trip(time_ns: int) -> None:
    """Every nanosecond of the years 2 to 9999 survives its text."""
    assert parse_timestamp(format_timestamp(time_ns)) == time_ns
