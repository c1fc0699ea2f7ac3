"""Conformity: what callers hand over, as an event can hold it. The rare half of ``emit`` and ``publish``.

The common case, exact ``str`` and ``dict``, runs no foreign code, and never comes here. All else may raise whatever it
likes: here it becomes a ``TypeError``, which publishers count. They do not catch ``Exception``: a signal handler that
raises ``TimeoutError`` in the middle of an ``emit`` means its own program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sonde.events import Event

# What sonde's own code may raise while it publishes: names that are gone at interpreter exit, no stack, no memory.
OUR_ERRORS = (TypeError, AttributeError, RecursionError, MemoryError)


def plain_text(value: object) -> str:
    """``value`` as an exact ``str``: that of a subclass (an enum's member), or of an id such as a UUID or a number.

    Raises:
        TypeError: it has no text.
    """
    try:
        return str.__str__(value if issubclass(type(value), str) else str(value))  # its ``__class__`` may be a trap
    except Exception as error:  # a foreign object may raise anything
        raise TypeError("an id without a text") from error


def plain_mapping(data: object, more: dict[str, Any] | None = None) -> Any:
    """``data`` as a mapping, together with the keywords in ``more``; what is no mapping goes under ``value``.

    Raises:
        TypeError: it cannot be merged.
    """
    try:
        if not isinstance(data, Mapping):
            data = {"value": data}
        return {**data, **more} if more else data
    except Exception as error:  # a foreign mapping may raise anything
        raise TypeError("data that cannot be read") from error


def plain_event(event: object) -> Event:
    """A copy of ``event`` with fields of exact types.

    Raises:
        TypeError: it is no event, or its type is no ``str``, or its time no number.
    """
    if not issubclass(type(event), Event):
        raise TypeError("no event")
    try:
        source: Any = event
        return Event(
            str.__str__(source.type),
            int(source.time_ns),
            plain_text(source.session_id),
            plain_text(source.plan_id),
            plain_text(source.task_id),
            source.data if type(source.data) is dict else plain_mapping(source.data),
            plain_text(source.trace_id),
            plain_text(source.span_id),
            plain_text(source.parent_id),
        )
    except Exception as error:  # a foreign object may raise anything
        raise TypeError("an event with unfit fields") from error
