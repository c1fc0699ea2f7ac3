"""Recovery: what processes that were killed left beside the store is taken into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import StoreError
from sonde.events import Event, EventType, PublishedEvent
from sonde.failures import LOGGER, FailureLog
from sonde.instrument import default_prices
from sonde.journal import Header, Remains, folder_of, left_behind, look, remove_unfinished, sweep_memory
from sonde.persister import DEFAULT_STREAM, Complete, Preparation
from sonde.recorder.pricing import Pricing
from sonde.redaction import Policy, Redactor, SecretRedactor, policy_of
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
        events: taken into the store. Of what only :func:`pending` found: those that wait, ``reserved`` ones too.
        torn: records that were cut off by the kill, so that their ``emit`` had not returned, or that are damaged.
        missed: events at most that these writers published and that are nowhere; a ``sonde.gap`` says so.
        is_estimate: of some writer there was only a copy of its numbers, a moment old: it may be more than ``missed``.
        reserved: events at most that stay where they are: their programs had a redactor that nobody else has.
        is_complete: false if it was stopped.
    """

    writers: int = 0
    events: int = 0
    torn: int = 0
    missed: int = 0
    is_estimate: bool = False
    reserved: int = 0
    is_complete: bool = True

    def __add__(self, other: Recovery) -> Recovery:
        return Recovery(
            self.writers + other.writers,
            self.events + other.events,
            self.torn + other.torn,
            self.missed + other.missed,
            self.is_estimate or other.is_estimate,
            self.reserved + other.reserved,
            self.is_complete and other.is_complete,
        )


def recover(
    store: EventStore,
    *,
    redactor: Redactor | None = None,
    complete: Complete | None = None,
    with_default_rules: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
    clock: Clock = SYSTEM_CLOCK,
) -> Recovery:
    """Take what dead writers of this host left into the store: each event once, in order, priced, sanitised, redacted.

    Redacted as the writer would have had it: by sonde's rules if those were its own. Events of one that had a redactor
    of its own wait for a program that has one, too, which is ``redactor``, unless ``with_default_rules`` lets sonde's
    rules do. Those of one that redacted nothing are redacted by ``redactor``, or (``None``) by sonde's rules.
    ``complete`` adds what calls of models cost; ``None``: by the default prices.

    ``is_stopped`` is asked now and then, some 10 ms apart; what is left by then is for the next time.

    The files are removed once all is committed. Safe to call at any time, by any number of processes: each dead writer
    is taken in by one of them. Blocks on I/O; some 100,000 events a second. Stores that are no file have nothing.

    Raises:
        StoreError: the store does not take it; what is left stays where it is.
        OSError: files of some writer cannot be read or removed; the others' have been taken in.
    """
    found = Recovery()
    if isinstance(store, SQLiteStore) and store.url != MEMORY and not store.read_only:
        failed: OSError | None = None
        for remains in left_behind(folder_of(store.url)):
            if is_stopped():
                return replace(found, is_complete=False)
            try:
                by = _redactor_for(remains.header, redactor, with_default_rules=with_default_rules)
                found += _take_in(store, remains, by, complete=complete, is_stopped=is_stopped, clock=clock)
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed
        remove_unfinished(folder_of(store.url))
        sweep_memory(store.url)
    return found


def recover_or_log(
    store: EventStore,
    *,
    redactor: Redactor | None = None,
    complete: Complete | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    clock: Clock = SYSTEM_CLOCK,
) -> bool:
    """The same for who has better to do than to fail for it: the next one tries again. Whether all is done."""
    try:
        found = recover(store, redactor=redactor, complete=complete, is_stopped=is_stopped, clock=clock)
    except (StoreError, OSError) as error:
        LOGGER.warning("cannot take in what a killed process left beside %s: %s", store.url, error)
        return True
    if found.events or found.missed or found.torn:
        LOGGER.info("took in what killed processes left beside %s: %s", store.url, found)
    if found.reserved:
        LOGGER.warning(
            "up to %d events of killed processes wait beside %s for a program with a redactor of its own, as those "
            "had; run them again, or take the events in with sonde doctor --recover --default-rules",
            found.reserved,
            store.url,
        )
    return found.is_complete


def pending(store: EventStore) -> Recovery:
    """What :func:`recover` would do. Changes nothing; for stores that are open for reading, too."""
    found = Recovery()
    if isinstance(store, SQLiteStore) and store.url != MEMORY:
        for left in look(folder_of(store.url)):
            ranges = store.seen(left.header.writer_id)
            stored = _number(ranges)
            new = sum(not _is_seen(seq, ranges) for seq in left.seqs)
            if new and _redactor_for(left.header, None) is None:
                found += Recovery(1, new, reserved=new)
            else:
                found += Recovery(1, new, 0, left.missing(stored + new), not left.words.is_last)
    return found


def _redactor_for(header: Header, redactor: Redactor | None, *, with_default_rules: bool = False) -> Redactor | None:
    """What a dead writer's events are redacted by; ``None``: by nothing that there is here."""
    if header.redaction == Policy.NONE:
        return SecretRedactor() if redactor is None else redactor
    if header.redaction == Policy.DEFAULT or with_default_rules or not header.has_arenas:
        return SecretRedactor()
    return redactor if policy_of(redactor) is Policy.OWN else None


def _is_seen(seq: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= seq <= last for first, last in ranges)


def _number(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _take_in(
    store: SQLiteStore,
    remains: Remains,
    redactor: Redactor | None,
    *,
    complete: Complete | None,
    is_stopped: Callable[[], bool],
    clock: Clock,
) -> Recovery:
    """Without a redactor only what holds no new event."""
    if redactor is None:
        ranges = store.seen(remains.header.writer_id)
        if remains.has_event(lambda seq: not _is_seen(seq, ranges)):
            return Recovery(1, reserved=max(1, remains.published() - _number(ranges)))
        redactor = SecretRedactor()
    events = remains.events()
    complete = Pricing(default_prices()) if complete is None else complete
    preparation = Preparation(redactor, complete=complete, failures=FailureLog())
    recovered = 0
    for start in range(0, len(events), _BATCH_SIZE):
        if is_stopped():
            return Recovery(1, recovered, is_complete=False)
        batch = preparation.records(events[start : start + _BATCH_SIZE], _stream_of)
        recovered += _append(store, batch, preparation)
    writer_id = remains.header.writer_id
    missed = remains.missing(_number(store.seen(writer_id)))
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
