"""What user code sees of an event. mypy checks this; nothing runs it."""

from datetime import datetime
from typing import Any, assert_type

from sonde.events import Event, EventType

event = Event(type="build.started", session_id="fix-42", data={"target": "wheel"})

assert_type(event.type, str)
assert_type(event.time_ns, int)
assert_type(event.data, dict[str, Any])
assert_type(event.timestamp, datetime)
assert_type(event.to_json(), bytes)
assert_type(Event.from_json(b"{}"), Event)

Event(type=EventType.RLM_TOOL_CALL)  # a member is a type like any other string
