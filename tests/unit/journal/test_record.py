"""Records: what an arena gives back, whole or torn."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.events import PublishedEvent, sanitize
from sonde.journal.record import WIPING, pack_record, read_records, unpack_event

WRITER = "w"
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.builds(
    PublishedEvent,
    type=st.text(max_size=20),
    time_ns=st.integers(-(2**63), 2**63 - 1),
    session_id=st.text(max_size=20),
    plan_id=st.text(max_size=8),
    task_id=st.text(max_size=8),
    data=st.dictionaries(st.text(max_size=8), PLAIN, max_size=5),
    trace_id=st.text(max_size=32),
    span_id=st.text(max_size=16),
    parent_id=st.text(max_size=16),
    writer_id=st.just(WRITER),
    seq=st.integers(1, 2**63 - 1),
)


@given(st.lists(EVENTS, max_size=5), st.integers(0, 100))
def test_what_is_written_is_read_back(events: list[PublishedEvent], rest: int) -> None:
    """An arena gives back the very events that were written, in order, whatever they hold; the rest of it is zero."""
    contents = read_records(b"".join(map(pack_record, events)) + bytes(rest))
    assert not contents.torn
    assert [unpack_event(record, WRITER) for record in contents.records] == events


@given(st.lists(EVENTS, min_size=1, max_size=4), st.data())
def test_a_torn_tail_is_found_and_costs_nothing_else(events: list[PublishedEvent], data: st.DataObject) -> None:
    """Wherever the last record was cut off, the ones before are read, and the cut is noticed."""
    packed = [pack_record(event) for event in events]
    last = packed[-1]
    cut = data.draw(st.integers(1, len(last) - 1))
    written = last[:cut].ljust(len(last), b"\0")
    contents = read_records(b"".join(packed[:-1]) + written + bytes(50))
    assert [unpack_event(record, WRITER) for record in contents.records] == events[:-1]
    # A cut right behind a byte that ends records looks like damage, and is told as what may be worse.
    left = written.rstrip(b"\0")
    is_told = left[-1:] != b"\xc3" or bytes(2) in left[8:]
    is_begun = bool(left)  # the first byte is a length's, and may be 0
    assert (contents.torn, contents.damaged) == ((is_begun, 0) if is_told else (False, 1))


@given(st.lists(EVENTS, min_size=1, max_size=2), st.integers(0, 100), st.data())
def test_a_flipped_bit_costs_one_record(events: list[PublishedEvent], rest: int, data: st.DataObject) -> None:
    """A record with any bit changed is not believed and is counted; the others are read, before it and behind it."""
    packed = [bytearray(pack_record(event)) for event in events]
    which = data.draw(st.integers(0, len(packed) - 1))
    bit = data.draw(st.integers(0, len(packed[which]) * 8 - 1))
    packed[which][bit // 8] ^= 1 << bit % 8
    contents = read_records(b"".join(packed) + bytes(rest))
    assert contents.damaged >= 1 or (contents.torn and which == len(packed) - 1)  # its end looks like a kill's
    others = [event for number, event in enumerate(events) if number != which]
    assert [unpack_event(record, WRITER) for record in contents.records] == others


def test_a_kill_amid_wiping_is_no_damage() -> None:
    """Whatever part of a segment is wiped already: what is left is read, and nothing is said to be damaged."""
    events = [PublishedEvent("n", 1, data={"text": "x" * 9}, writer_id=WRITER, seq=seq) for seq in (1, 2, 3)]
    packed = b"".join(map(pack_record, events))
    body = len(WIPING)
    for start in range(body, len(packed), 3):
        for end in range(start, len(packed) + 1, 3):
            contents = read_records(WIPING + packed[body:start] + bytes(end - start) + packed[end:] + bytes(20))
            assert (contents.torn, contents.damaged) == (False, 0)
            assert all(unpack_event(record, WRITER) in events[1:] for record in contents.records)


@given(st.binary(max_size=300), st.lists(EVENTS, max_size=2))
def test_anything_can_be_read(noise: bytes, events: list[PublishedEvent]) -> None:
    """Whatever somebody wrote there, reading ends, and what is whole before it is found."""
    contents = read_records(b"".join(map(pack_record, events)) + noise)
    assert [unpack_event(record, WRITER) for record in contents.records[: len(events)]] == events


class Unreadable:
    """Something of which nothing can be had."""

    def __repr__(self) -> str:
        raise OSError


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.parametrize(
    "data",
    [
        {"object": object()},
        {"object": Unreadable()},
        {"number": 2**70},
        {"text": "lone \ud800"},
        CYCLE,
        {1: "key", None: 2},
        {"set": {1}, "nan": math.nan, "when": datetime(2026, 11, 22, tzinfo=UTC)},
        [1, 2],
    ],
)
def test_what_no_format_carries_comes_back_readable(data: Any) -> None:
    """Foreign objects, cycles, huge numbers and lone surrogates never raise; sanitising gives what it would have."""
    contents = read_records(pack_record(PublishedEvent("odd", session_id="s", data=data, seq=3)))
    (record,) = contents.records
    event = unpack_event(record, WRITER)
    assert (event.type, event.session_id, event.seq) == ("odd", "s", 3)
    recovered = sanitize(event.data)
    assert {key for key in sanitize(data) if not key.startswith("$")} <= set(recovered)


def test_a_name_that_no_format_carries_keeps_the_event() -> None:
    """A lone surrogate in a name becomes a visible escape."""
    contents = read_records(pack_record(PublishedEvent("odd\ud800", task_id="\udfff", seq=1)))
    assert unpack_event(contents.records[0], WRITER).type == "odd\\ud800"


@pytest.mark.parametrize("hole", [range(16), range(16, 48), range(32, 64), range(96), [0, *range(50, 170)]])
def test_a_record_with_a_hole_at_the_end_is_torn(hole: range) -> None:
    """Processors copy the end of a record before its middle, or its beginning: a kill in between is no damage."""
    event = PublishedEvent("n", 1, "s", data={"text": "x" * 100}, writer_id="w", seq=7)
    segment = bytearray(pack_record(event) + pack_record(event) + bytes(500))
    begin = len(pack_record(event))
    for at in hole:
        segment[begin + at] = 0
    contents = read_records(bytes(segment))
    assert (len(contents.records), contents.torn, contents.damaged) == (1, True, 0)
