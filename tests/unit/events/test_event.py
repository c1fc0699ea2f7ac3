"""Event: immutable, and the original's JSON on the wire."""

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.errors import EventDecodeError
from sonde.events import Event, EventType, PublishedEvent, RecordedEvent
from sonde.events.position import Position

LINE = (
    b'{"type":"tool.completed","timestamp":"2026-02-11T09:30:00.5Z","sessionId":"s","planId":"p","taskId":"t",'
    b'"data":{"tool":"read_file"},"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331",'
    b'"parentId":"00f067aa0ba902b7"}'
)
EVENT = Event(
    "tool.completed",
    1_770_802_200_500_000_000,
    "s",
    "p",
    "t",
    {"tool": "read_file"},
    "0af7651916cd43dd8448eb211c80319c",
    "b7ad6b7169203331",
    "00f067aa0ba902b7",
)
json_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def test_wire_form_is_the_original_s() -> None:
    """All fields have the original's camelCase names, in its order."""
    assert EVENT.to_json() == LINE
    assert Event.from_json(LINE) == EVENT


def test_empty_fields_are_left_out() -> None:
    """An event without ids and data is its type and time."""
    assert Event("debug", 1).to_json() == b'{"type":"debug","timestamp":"1970-01-01T00:00:00.000000001Z"}'


def test_a_known_type_is_written_as_its_name() -> None:
    """An EventType on the wire is plain text."""
    assert b'"type":"tool.started"' in Event(EventType.TOOL_STARTED).to_json()


def test_unknown_keys_and_null_data_are_read_over() -> None:
    """A newer writer's keys do no harm, and the original's ``null`` data is no data."""
    event = Event.from_json('{"type":"x.y","data":null,"future":[1]}')
    assert event == Event("x.y")
    assert event.time_ns == 0


def test_hostile_data_never_stops_the_wire() -> None:
    """What JSON cannot carry is replaced on the way out."""
    assert Event.from_json(Event("a.b", 1, data={"v": float("nan")}).to_json()).data == {
        "v": "NaN",
        "$replaced": {"/v": "NaN as text"},
    }


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"timestamp":"2026-02-11T09:30:00Z"}',
        b'{"type":1}',
        b'{"type":"a","data":[]}',
        b"\xff",
    ],
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    """Anything but an object with a type and fields of the right kind is an EventDecodeError."""
    with pytest.raises(EventDecodeError, match="cannot read event"):
        Event.from_json(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"sessionId":"s"}', "missing required field `type`"),
        ('{"type":null}', r"got `null` - at `\$.type`"),
        ('{"type":"a.b","data":{"x":1e400}}', "the number 1e400 is out of range"),
        ('{"type":"a.b","data":{"x":"\\ud800","y":-1e400}}', "the number -1e400 is out of range"),
        ('{"type":"a.b","data":{"x":' + "9" * 5_000 + "}}", "Integer value out of range"),
        ('{"type":"a.b","taskId":NaN}', r"got `float` - at `\$.taskId`"),
    ],
)
def test_a_refusal_says_why(line: str, reason: str) -> None:
    """The message names the field or the number that cannot be."""
    with pytest.raises(EventDecodeError, match=f"cannot read event: .*{reason}.*; expected"):
        Event.from_json(line)


def test_an_empty_type_is_read() -> None:
    """``emit("")`` is recorded, so what is exported of it can be read back."""
    assert Event.from_json(Event("", 1).to_json()) == Event("", 1)


def test_what_python_s_json_writes_is_read() -> None:
    """Lone surrogates, NaN and infinities, which no JSON holds, are replaced and listed; the rest stays."""
    data = {"x": "a\ud800", "n": float("nan"), "deep": [float("-inf"), 1.5], "\udfff": 1}
    event = Event.from_json(json.dumps({"type": "a.b", "taskId": "t\ud800", "data": data, "\ud801": 1}))
    assert event.task_id == "t\\ud800"
    assert event.data == {
        "x": "a\\ud800",
        "n": "NaN",
        "deep": ["-Infinity", 1.5],
        "\\udfff": 1,
        "$replaced": event.data["$replaced"],
    }
    assert {"/x", "/n", "/deep/0"} < set(event.data["$replaced"])
    assert Event.from_json(event.to_json()) == event


def test_a_bad_time_is_refused() -> None:
    """A timestamp that is none is an EventDecodeError, not a ValueError of some library."""
    with pytest.raises(EventDecodeError, match="cannot read timestamp 'noon'"):
        Event.from_json('{"type":"a.b","timestamp":"noon"}')


def test_events_are_immutable() -> None:
    """Fields cannot be set, so threads may share an event."""
    with pytest.raises(AttributeError):
        EVENT.type = "other"  # type: ignore[misc]


def test_timestamp_is_utc() -> None:
    """The datetime is aware, and cut to microseconds."""
    assert Event("a.b", 1_500).timestamp == dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)


def test_published_and_recorded_events_have_the_same_wire_form() -> None:
    """Identity and place belong to a store, not to the wire."""
    published = PublishedEvent("a.b", 1, writer_id="w", seq=1)
    recorded = RecordedEvent("a.b", 1, writer_id="w", seq=1, stream_id="s", version=1, position=Position(1))
    assert published.to_json() == recorded.to_json() == Event("a.b", 1).to_json()


@given(
    st.builds(
        Event,
        type=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        time_ns=st.integers(0, 2**62),
        session_id=json_text,
        plan_id=json_text,
        task_id=json_text,
        data=st.dictionaries(json_text, st.none() | st.integers(-(2**63), 2**63 - 1) | json_text | st.booleans()),
        span_id=json_text,
    )
)
def test_round_trip(event: Event) -> None:
    """Every event survives its JSON, nanoseconds included."""
    assert Event.from_json(event.to_json()) == event
