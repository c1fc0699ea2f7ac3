"""Role: which event types begin and end an operation, and of what kind; what the operation is called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from sonde.vocabulary.status import Status


class Role(NamedTuple):
    """What an event is to operations of a kind: their start (``status`` is ``None``), or an end with a status."""

    kind: str
    status: Status | None


_START = {"started", "start", "stream_start", "spawned"}
_ENDS = {
    "completed": Status.COMPLETED,
    "complete": Status.COMPLETED,
    "ended": Status.COMPLETED,
    "stream_end": Status.COMPLETED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
}
# Where the verb alone misleads.
_SPECIAL: dict[str, Role | None] = {
    "agent.step.started": None,  # nothing ends it
    "agent.model.request": Role("agent.model", None),
    "agent.model.response": Role("agent.model", Status.COMPLETED),
    "agent.model.error": Role("agent.model", Status.FAILED),
    "agent.tool.result": Role("agent.tool", Status.COMPLETED),
    "agent.tool.error": Role("agent.tool", Status.FAILED),
}
_SUBJECT = {"plan": "title", "task": "title", "shell": "command", "session": "session_id"}


@lru_cache(maxsize=4096)
def role_of(event_type: str) -> Role | None:
    """The role of an event type; ``None`` for one that neither begins nor ends anything.

    >>> role_of("tool.started"), role_of("model.stream_end"), role_of("cost.updated")
    (Role(kind='tool', status=None), Role(kind='model', status=<Status.COMPLETED: 'completed'>), None)
    """
    if event_type in _SPECIAL:
        return _SPECIAL[event_type]
    kind, _, verb = event_type.rpartition(".")
    if not kind or kind == "sonde" or kind.startswith("sonde."):
        return None
    if verb in _START:
        return Role(kind, None)
    status = _ENDS.get(verb)
    return None if status is None else Role(kind, status)


def name_of(kind: str, data: Mapping[str, Any]) -> str:
    """What an operation works on: the tool, the model, the command, the title; empty if ``data`` does not say.

    >>> name_of("shell", {"command": ["git", "status"]})
    'git status'
    """
    noun = kind.rpartition(".")[2]
    for key in (_SUBJECT.get(kind, noun), "name", "title", "id"):
        value = data.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value:
            return " ".join(str(part) for part in value)
    return ""
