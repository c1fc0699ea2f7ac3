"""Preparation: what happens to an event's data between the hub and the disk.

Priced, sanitised, redacted, encoded, in this order and in one place; then the store adds the checksum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sonde.events import Event, PublishedEvent, decode_data, encode_data, sanitize
from sonde.failures import FailureLog
from sonde.redaction import Redactor
from sonde.store import Record

Complete = Callable[[Event], Event]


class Preparation:
    """Turns published events into records that a store can take, whatever their data holds. For one thread.

    Clean data costs a microsecond or two an event: the walk that sanitises, the encoding, and one scan of the whole
    batch for what may be a secret. Only suspects are taken apart.
    """

    def __init__(self, redactor: Redactor | None, *, complete: Complete | None = None, failures: FailureLog) -> None:
        """``complete`` may add to an event what only the background knows, such as the price of a model call."""
        self._redactor = redactor
        self._complete = complete
        self._failures = failures
        self._changed: dict[int, dict[str, Any]] = {}  # data that differs from its event's, by the event's id()

    def records(self, events: Sequence[PublishedEvent], stream_of: Callable[[Event], str]) -> list[Record]:
        """One record for each event, in order. Never raises for what an event holds.

        The event of a record has the very data that its JSON has, as long as the agent keeps to what it handed over.
        """
        if self._complete is not None:
            events = [self._completed(event) for event in events]
        encoded = [self._encoded(event) for event in events]
        if self._redactor is not None:
            for suspect in self._suspects(self._redactor, encoded):
                encoded[suspect] = self._redacted(self._redactor, events[suspect], encoded[suspect])
        if self._changed:
            changed, self._changed = self._changed, {}
            events = [_with_data(event, changed.get(id(event))) for event in events]
        return [
            Record(stream_of(event), event.writer_id, event.seq, event, data_json)
            for event, data_json in zip(events, encoded, strict=True)
        ]

    def unrecordable(self, record: Record, error: BaseException) -> Record:
        """A stand-in for a record that the store will not take: everything but its data."""
        data = {"$replaced": {"": f"not recordable: {type(error).__name__}"}}
        event = record.event
        stand_in = Event(
            str(event.type)[:1000],
            event.time_ns if -(2**63) <= event.time_ns < 2**63 else 0,
            event.session_id[:1000],
            event.plan_id[:1000],
            event.task_id[:1000],
            data,
        )
        return Record(record.stream_id, record.writer_id, record.seq, stand_in, encode_data(data))

    def _completed(self, event: PublishedEvent) -> PublishedEvent:
        try:
            return self._complete(event)  # type: ignore[misc,return-value]  # it keeps the class of what it is given
        except Exception as error:  # noqa: BLE001  # a price must not cost an event
            self._failures.add("complete", f"cannot complete a {event.type!r} event: {error!r}", error=error)
            return event

    def _encoded(self, event: PublishedEvent) -> bytes:
        try:
            data = sanitize(event.data)
            data_json = encode_data(data)
        except Exception as error:  # noqa: BLE001  # the last net: the sanitiser should have caught it
            self._failures.add("sanitize", f"cannot sanitise a {event.type!r} event: {error!r}", error=error)
            data = {"$replaced": {"": f"not readable: {type(error).__name__}"}}
            data_json = encode_data(data)
        if data is not event.data:
            self._changed[id(event)] = data
        return data_json

    def _suspects(self, redactor: Redactor, encoded: Sequence[bytes]) -> Sequence[int]:
        try:
            return redactor.suspects(encoded)
        except Exception as error:  # noqa: BLE001  # a user's redactor: then all are looked at
            self._failures.add("redact", f"cannot look for secrets in a batch: {error!r}", error=error)
            return range(len(encoded))

    def _redacted(self, redactor: Redactor, event: PublishedEvent, data_json: bytes) -> bytes:
        try:
            data = decode_data(data_json)  # what would be written, and not what the agent may have made of it since
            redacted = redactor.redact(data)
            if redacted is data:
                return data_json
            data_json = encode_data(redacted)
        except Exception as error:  # noqa: BLE001  # what may be a secret is not written unredacted
            self._failures.add("redact", f"cannot redact a {event.type!r} event: {error!r}", error=error)
            redacted = {"$replaced": {"": f"withheld, redaction failed: {type(error).__name__}"}}
            data_json = encode_data(redacted)
        self._changed[id(event)] = redacted
        return data_json


def _with_data(event: PublishedEvent, data: dict[str, Any] | None) -> PublishedEvent:
    return event if data is None else msgspec.structs.replace(event, data=data)
