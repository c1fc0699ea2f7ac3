"""Recovery: what processes that were killed left beside the store is taken into it."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import StoreError
from sonde.events import Event, EventType, PublishedEvent
from sonde.failures import LOGGER, FailureLog
from sonde.journal import Remains, folder_of, left_behind, look, remove_unfinished, sweep_memory
from sonde.persister import DEFAULT_STREAM, Preparation
from sonde.redaction import Redactor, SecretRedactor
from sonde.store import EventStore, Record, SQLiteStore
from sonde.store.location import MEMORY

_BATCH_SIZE = 1000
KILLED = "killed"
NOT_WRITTEN = "not_written"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery did, or what one would do.

    Attributes:
        writers: how many dead writers had left something.
        events: taken into the store.
        torn: records that were cut off by the kill, so that their ``emit`` had not returned, or that are damaged.
        missed: events at most that these writers published and that are nowhere; a ``sonde.gap`` says so.
        is_estimate: of some writer there was only a copy of its numbers, a moment old: it may be more than ``missed``.
    """

    writers: int = 0
    events: int = 0
    torn: int = 0
    missed: int = 0
    is_estimate: bool = False

    def __add__(self, other: Recovery) -> Recovery:
        return Recovery(
            self.writers + other.writers,
            self.events + other.events,
            self.torn + other.torn,
            self.missed + other.missed,
            self.is_estimate or other.is_estimate,
        )


def recover(store: EventStore, *, redactor: Redactor | None = None, clock: Clock = SYSTEM_CLOCK) -> Recovery:
    """Take what dead writers of this host left into the store: each event once, in order, sanitised and redacted.

    The files are removed once all is committed. Safe to call at any time, by any number of processes: each dead writer
    is taken in by one of them. Blocks on I/O; some 100,000 events a second. Stores that are no file have nothing.

    Raises:
        StoreError: the store does not take it; what is left stays where it is.
        OSError: the files cannot be read or removed.
    """
    found = Recovery()
    if isinstance(store, SQLiteStore) and store.url != MEMORY and not store.read_only:
        for remains in left_behind(folder_of(store.url)):
            found += _take_in(store, remains, SecretRedactor() if redactor is None else redactor, clock)
        remove_unfinished(folder_of(store.url))
        sweep_memory(store.url)
    return found


def recover_or_log(store: EventStore, *, redactor: Redactor | None, clock: Clock = SYSTEM_CLOCK) -> None:
    """The same for who has better to do than to fail for it: the next one tries again."""
    try:
        found = recover(store, redactor=redactor, clock=clock)
    except (StoreError, OSError) as error:
        LOGGER.warning("cannot take in what a killed process left beside %s: %s", store.url, error)
        return
    if found.events or found.missed or found.torn:
        LOGGER.info("took in what killed processes left beside %s: %s", store.url, found)


def pending(store: EventStore) -> Recovery:
    """What :func:`recover` would do. Changes nothing; for stores that are open for reading, too."""
    found = Recovery()
    if isinstance(store, SQLiteStore) and store.url != MEMORY:
        for left in look(folder_of(store.url)):
            ranges = store.seen(left.header.writer_id)
            stored = sum(last - first + 1 for first, last in ranges)
            new = sum(1 for seq in left.seqs if not any(first <= seq <= last for first, last in ranges))
            found += Recovery(1, new, 0, left.missing(stored + new), not left.words.is_last)
    return found


def _take_in(store: SQLiteStore, remains: Remains, redactor: Redactor, clock: Clock) -> Recovery:
    preparation = Preparation(redactor, failures=FailureLog())
    events = remains.events()
    recovered = 0
    for start in range(0, len(events), _BATCH_SIZE):
        batch = preparation.records(events[start : start + _BATCH_SIZE], _stream_of)
        recovered += _append(store, batch, preparation)
    writer_id = remains.header.writer_id
    missed = remains.missing(sum(last - first + 1 for first, last in store.seen(writer_id)))
    if missed:
        # Of a writer of its own, with one number: however often this is tried, it is there once.
        gap = PublishedEvent(
            EventType.GAP.value,
            remains.words.time_ns or clock.time_ns(),
            remains.header.session_id,
            data={
                "missed": missed,
                "reasons": {NOT_WRITTEN if remains.words.ended else KILLED: missed},
                # A copy of what it said, from a moment before its end, bounds nothing.
                "at_most" if remains.words.is_last else "estimated": True,
            },
            writer_id=f"{writer_id}-recovery",
            seq=1,
        )
        store.append_batch(preparation.records([gap], _stream_of))
    remains.remove()
    return Recovery(1, recovered, remains.torn, missed, not remains.words.is_last)


def _append(store: SQLiteStore, records: list[Record], preparation: Preparation) -> int:
    try:
        return len(records) - store.append_batch(records).duplicates
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001  # something in a record: find which, and write the others
        if len(records) == 1:
            return 1 - store.append_batch([preparation.unrecordable(records[0], error)]).duplicates
        half = len(records) // 2
        return _append(store, records[:half], preparation) + _append(store, records[half:], preparation)


def _stream_of(event: Event) -> str:
    return event.session_id or DEFAULT_STREAM
