"""Events: their shape, their names, their JSON."""

from sonde.events.codec import checksum, decode_data, decode_object, encode_data
from sonde.events.event import Event, PublishedEvent, RecordedEvent
from sonde.events.position import Position
from sonde.events.sanitizer import sanitize
from sonde.events.timestamp import format_timestamp, parse_timestamp
from sonde.events.types import EventType

__all__ = [
    "Event",
    "EventType",
    "Position",
    "PublishedEvent",
    "RecordedEvent",
    "checksum",
    "decode_data",
    "decode_object",
    "encode_data",
    "format_timestamp",
    "parse_timestamp",
    "sanitize",
]
