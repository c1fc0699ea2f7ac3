"""Batch: events on their way out, some at a time, redacted where asked, with progress reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec

from sonde.events import Event

E = TypeVar("E", bound=Event)

Progress = Callable[[int], object]
"""Called with the number of events written so far, now and then and at the end."""


class Redactor(Protocol):
    """What takes the secrets out of an event's data; ``sonde.redaction`` has one."""

    def redact(self, data: dict[str, Any], /) -> dict[str, Any]:
        """``data`` without its secrets; the same object if there are none."""
        ...


def batches(
    events: Iterable[E], size: int, *, redactor: Redactor | None, progress: Progress | None
) -> Iterator[list[E]]:
    """Lists of up to ``size`` events. Progress is reported when the caller comes back for more."""
    source = iter(events)
    written = 0
    while batch := list(islice(source, size)):
        if redactor is not None:
            batch = [redacted(event, redactor) for event in batch]
        yield batch
        written += len(batch)
        if progress is not None:
            progress(written)


def redacted(event: E, redactor: Redactor) -> E:
    """The event, or a copy of it without the secrets in its data."""
    data = redactor.redact(event.data)
    return event if data is event.data else msgspec.structs.replace(event, data=data)
