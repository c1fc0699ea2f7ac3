"""Kind: the vocabulary of one sort of operation."""

from __future__ import annotations

import msgspec

from sonde.events import EventType
from sonde.instrument.outcome import CANCELLED, COMPLETED, FAILED


class Kind(msgspec.Struct, frozen=True, eq=False):
    """The event types of one sort of operation, and the key that holds its subject.

    Plain texts, not ``EventType`` members: encoders and dicts take them faster.
    """

    noun: str
    subject: str
    started: str
    ends: dict[str, str]
    """Status → type of the last event."""


def _kind(noun: str, subject: str) -> Kind:
    ends = {status: EventType(f"{noun}.{status}").value for status in (COMPLETED, FAILED, CANCELLED)}
    return Kind(noun, subject, EventType(f"{noun}.started").value, ends)


_ENDED = EventType.SESSION_ENDED.value

SESSION = Kind("session", "", EventType.SESSION_STARTED.value, {COMPLETED: _ENDED, FAILED: _ENDED, CANCELLED: _ENDED})
PLAN = _kind("plan", "title")
TASK = _kind("task", "title")
TOOL = _kind("tool", "tool")
MODEL = _kind("model", "model")
SHELL = _kind("shell", "command")
