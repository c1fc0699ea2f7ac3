"""Event: what happened, when, and to which session, plan, task and span it belongs."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sonde.errors import EventDecodeError
from sonde.events.position import Position
from sonde.events.sanitizer import sanitize
from sonde.events.text import clean_text
from sonde.events.timestamp import format_timestamp, parse_timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened. Immutable; safe to share between threads.

    ``type`` is an :class:`~sonde.EventType` or any ``noun.verb`` of your own. ``time_ns`` is Unix time in nanoseconds;
    0 means that ``publish`` stamps it. ``data`` is handed over: change it no more afterwards. ``trace_id`` (32 hex
    digits), ``span_id`` and ``parent_id`` (16 each) are W3C Trace Context ids; the events of one operation share a
    ``span_id``.

    >>> event = Event("tool.completed", session_id="s-1", data={"tool": "read_file"}, time_ns=1_770_802_200_500_000_000)
    >>> event.to_json()
    b'{"type":"tool.completed","timestamp":"2026-02-11T09:30:00.5Z","sessionId":"s-1","data":{"tool":"read_file"}}'
    >>> Event.from_json(event.to_json()) == event
    True
    """

    type: str
    time_ns: int = 0
    session_id: str = ""
    plan_id: str = ""
    task_id: str = ""
    data: dict[str, Any] = {}
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""

    @property
    def timestamp(self) -> datetime:
        """The time in UTC, cut to microseconds, as ``datetime`` holds no more."""
        return _EPOCH + timedelta(microseconds=self.time_ns // 1000)

    def to_json(self) -> bytes:
        """The event in the original's wire form: camelCase keys, RFC 3339 with nanoseconds, empty fields left out.

        What JSON cannot carry is replaced, and the replaced paths are listed under ``$replaced``
        (see :func:`~sonde.events.sanitize`). Never raises for what ``data`` holds.
        """
        return _encode(
            _Wire(
                str(self.type),
                format_timestamp(self.time_ns),
                self.session_id,
                self.plan_id,
                self.task_id,
                sanitize(self.data) or None,
                self.trace_id,
                self.span_id,
                self.parent_id,
            )
        )

    @staticmethod
    def from_json(line: bytes | str) -> Event:
        """Read one event in the wire form. Unknown keys are ignored; a missing timestamp becomes 0.

        What only Python's ``json`` writes (lone surrogates as escapes, ``NaN``, ``Infinity``) is read too: in ``data``
        it is replaced and listed under ``$replaced``, in other fields a surrogate stays as a visible escape.

        Raises:
            EventDecodeError: no JSON, no object, no type, a number out of range, or a field of the wrong
                kind; the message names it.
        """
        try:
            wire = _decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            wire = _decode_python(line, error)
        return Event(
            wire.type,
            parse_timestamp(wire.timestamp) if wire.timestamp else 0,
            wire.sessionId,
            wire.planId,
            wire.taskId,
            wire.data or {},
            wire.traceId,
            wire.spanId,
            wire.parentId,
        )


class PublishedEvent(Event, frozen=True, gc=False):
    """An event as ``publish`` stamped it: with a time, and an identity.

    ``(writer_id, seq)`` identifies it everywhere. A writer is new per process and per fork; ``seq`` counts from 1.
    """

    writer_id: str = ""
    seq: int = 0


class RecordedEvent(PublishedEvent, frozen=True, kw_only=True, gc=False):
    """An event as a store gives it back.

    ``version`` counts from 1 without holes in its stream, ``position`` orders all events of the store by commit.
    """

    stream_id: str
    version: int
    position: Position


class _Wire(msgspec.Struct, omit_defaults=True, gc=False):
    # The names are those of the JSON.
    type: str
    timestamp: str = ""
    sessionId: str = ""  # noqa: N815 - as in the JSON
    planId: str = ""  # noqa: N815 - as in the JSON
    taskId: str = ""  # noqa: N815 - as in the JSON
    data: dict[str, Any] | None = None
    traceId: str = ""  # noqa: N815 - as in the JSON
    spanId: str = ""  # noqa: N815 - as in the JSON
    parentId: str = ""  # noqa: N815 - as in the JSON


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Wire).decode


def _decode_python(line: bytes | str, refusal: Exception) -> _Wire:
    """Read a line that msgspec refused as Python's ``json`` does, which writes more than JSON; clean what it holds."""
    try:
        document = json.loads(line if isinstance(line, str) else line.decode(), parse_float=_finite)
        if isinstance(document, dict):  # an unknown key may be one that msgspec cannot look up
            document = {key: value for key, value in document.items() if key in _Wire.__struct_fields__}
        wire = msgspec.convert(document, _Wire)
    except EventDecodeError:
        raise  # a ValueError too
    except msgspec.ValidationError as error:
        raise EventDecodeError(f"cannot read event: {error}; expected one JSON object a line") from None
    except (ValueError, RecursionError):  # no JSON for either of them, or an integer of thousands of digits
        raise EventDecodeError(f"cannot read event: {refusal}; expected one JSON object a line") from None
    texts = {name: clean_text(text) for name in _Wire.__struct_fields__ if type(text := getattr(wire, name)) is str}
    return msgspec.structs.replace(wire, data=sanitize(wire.data or {}), **texts)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise EventDecodeError(f"cannot read event: the number {text[:40]} is out of range; expected one up to 1.8e308")
    return number
