"""What every event store promises. The contract suite in ``tests/contracts`` runs unchanged on each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import msgspec

from sonde.errors import ConfigError
from sonde.events import Event, Position, RecordedEvent


class Durability(StrEnum):
    """What an acknowledgement survives: that of a store, and that of a recorder."""

    EMIT = "emit"
    """``kill -9`` of the process, from the moment at which ``emit`` returns. A recorder's; no store gives it."""

    COMMIT = "commit"
    """``kill -9`` of the process, once committed."""

    POWER = "power"
    """A power cut, once committed: the disk has it."""


def known_durability(durability: Durability | str) -> Durability:
    """What a store can be opened with.

    Raises:
        ConfigError: it gives no such thing.
    """
    if durability not in (Durability.COMMIT, Durability.POWER):
        raise ConfigError(f"cannot open event store: durability {durability!r}; expected 'commit' or 'power'")
    return Durability(durability)


class Liveness(StrEnum):
    """Whether the process behind a writer still records."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """On another host, or never registered."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One event on its way into a store, with its stream and its identity. Immutable."""

    stream_id: str
    writer_id: str
    seq: int
    event: Event
    data_json: bytes | None = None
    """Canonical JSON of ``event.data`` where the caller has it already; ``None``: the store encodes (and sanitises)."""


class AppendResult(NamedTuple):
    """What an append did.

    ``first_version`` and ``last_version`` are those given in the stream (of the last record's stream where streams
    mix), both 0 if nothing was written. ``position`` is that of the last event written, or ``Position.START``.
    ``duplicates`` counts the records that the store knew already and skipped.
    """

    first_version: int
    last_version: int
    position: Position
    durability: Durability
    duplicates: int


class StreamInfo(NamedTuple):
    """One stream, as ``streams()`` lists it."""

    stream_id: str
    first_version: int
    """Of the oldest event that is still there; 1 unless retention removed a prefix. 0 if none is there."""
    last_version: int
    first_time_ns: int
    last_time_ns: int
    last_position: Position


class StoreHealth(NamedTuple):
    """What ``health()`` says: figures for a doctor, not a verdict."""

    url: str
    ok: bool
    detail: str
    schema: int
    events: int
    size_bytes: int
    wal_bytes: int
    engine: str


class EventStore(Protocol):
    """An append-only store of events in streams.

    Thread-safe. ``append*`` and the reads block on I/O; ``follow`` blocks until there is more. After ``close`` every
    call raises :class:`~sonde.errors.StoreClosedError`.
    """

    @property
    def url(self) -> str:
        """The path or URL that ``sonde.store.open`` takes to open it again."""
        ...

    def append_batch(self, records: Sequence[Record]) -> AppendResult:
        """Write records, in order and in one transaction; streams may mix; known identities are skipped and counted."""
        ...

    def append(self, stream_id: str, events: Iterable[Event], *, expected_version: int | None = None) -> AppendResult:
        """Write events to one stream, atomically, under the handle's own writer.

        ``expected_version`` is the version that the stream must have now: 0, it must not exist; ``None``, any.
        """
        ...

    def read(self, stream_id: str, from_version: int = 0, *, limit: int | None = None) -> Iterator[RecordedEvent]:
        """The events of a stream from ``from_version`` (inclusive), lazily, in order of version."""
        ...

    def read_by_type(self, stream_id: str, event_type: str) -> Iterator[RecordedEvent]:
        """The events of one type in a stream, lazily, in order of version."""
        ...

    def read_all(
        self, after: Position | None = None, *, types: Iterable[str] | None = None, limit: int | None = None
    ) -> Iterator[RecordedEvent]:
        """The events of all streams after a position (``None``: from the beginning), lazily, in order of commit."""
        ...

    def follow(
        self,
        after: Position | None = None,
        *,
        types: Iterable[str] | None = None,
        stream_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[RecordedEvent]:
        """Events as they are committed, by any process.

        ``None``: from now on; ``Position.START``: everything, then live. Ends when the store is closed, or once nothing
        has come for ``timeout_s``.
        """
        ...

    def streams(self) -> list[StreamInfo]:
        """All streams, in the order in which they were made."""
        ...

    def head(self, stream_id: str) -> int:
        """The version of a stream's last event; 0 if there is no such stream."""
        ...

    def truncate(self, stream_id: str, before_version: int) -> int:
        """Remove the events of a stream below a version; says how many. Versions are never given again."""
        ...

    def register_writer(self, writer_id: str) -> None:
        """Declare that this process records as ``writer_id``, until ``release_writer`` or its death."""
        ...

    def release_writer(self, writer_id: str) -> None:
        """Declare that the writer has ended in good order. Idempotent."""
        ...

    def liveness(self, writer_id: str) -> Liveness:
        """Whether the process that records as ``writer_id`` is alive."""
        ...

    def health(self) -> StoreHealth:
        """Figures about the store."""
        ...

    def close(self) -> None:
        """Close. Idempotent; iterators in flight end."""
        ...

    def __enter__(self) -> Self:
        """The store itself; leaving the block closes it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close."""
        ...
