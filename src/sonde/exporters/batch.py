"""Batch: events on their way out, some at a time, redacted, with progress reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from sonde.events import Event, encode_data, sanitize
from sonde.redaction import Redactor, SecretRedactor

E = TypeVar("E", bound=Event)

Progress = Callable[[int], object]
"""Called with the number of events written so far, now and then and at the end."""


def batches(
    events: Iterable[E], size: int, *, redactor: Redactor | None, progress: Progress | None
) -> Iterator[list[E]]:
    """Lists of up to ``size`` events, without secrets. Progress is reported when the caller comes back for more.

    A store's events are redacted already if they came through a recorder or an importer, but not if they were appended
    directly; the look that tells costs some 1.5 µs an event.
    """
    redactor = redactor or SecretRedactor()
    source = iter(events)
    written = 0
    while batch := list(islice(source, size)):
        for index in redactor.suspects([encode_data(sanitize(event.data)) for event in batch]):
            batch[index] = _redacted(batch[index], redactor)
        yield batch
        written += len(batch)
        if progress is not None:
            progress(written)


def _redacted(event: E, redactor: Redactor) -> E:
    data = redactor.redact(sanitize(event.data))
    return event if data is event.data else msgspec.structs.replace(event, data=data)
