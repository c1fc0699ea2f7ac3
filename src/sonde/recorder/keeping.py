"""Keeping: which journal a recorder has, by the durability that is asked of it and the store that it writes to."""

from __future__ import annotations

from typing import Literal, get_args

from sonde.errors import ConfigError
from sonde.failures import FailureLog
from sonde.journal import Journal, folder_of
from sonde.persister import FlushReport
from sonde.redaction import Policy
from sonde.store import Durability, EventStore, SQLiteStore
from sonde.store.location import MEMORY

JournalPlace = Literal["memory", "disk"]
"""Where lies what a kill leaves for the next process to take in."""

_LEFT_OVER = ("not_written", "store_closed")


def checked_durability(durability: Durability | str, *, own_store: bool) -> Durability:
    """The durability that is asked for.

    Raises:
        ConfigError: there is no such thing, or it is for whoever opens the store to say.
    """
    if durability not in tuple(Durability):
        raise ConfigError(f"cannot record with durability {durability!r}; expected 'emit', 'commit' or 'power'")
    if durability == Durability.POWER and not own_store:
        raise ConfigError(
            "cannot record with durability 'power' to a store that is open already; open it with durability='power'"
        )
    return Durability(durability)


def checked_place(journal: JournalPlace) -> JournalPlace:
    """Where the journal is asked to lie.

    Raises:
        ConfigError: there is no such place.
    """
    if journal not in get_args(JournalPlace):
        raise ConfigError(f"cannot record with journal {journal!r}; expected 'memory' or 'disk'")
    return journal


def store_durability(durability: Durability) -> Durability:
    """What the store is asked for."""
    return Durability.POWER if durability is Durability.POWER else Durability.COMMIT


def journal_for(
    store: EventStore,
    *,
    session_id: str,
    durability: Durability,
    redaction: Policy,
    place: JournalPlace,
    max_bytes: int,
) -> Journal | None:
    """The journal of a store; ``None`` for one that is no file, and where the system lacks what it takes.

    Raises:
        ConfigError: ``emit`` is asked for, and cannot be had.
    """
    is_full = durability is Durability.EMIT
    is_file = isinstance(store, SQLiteStore) and store.url != MEMORY and not store.read_only
    if is_file and Journal.is_possible(is_full=is_full):
        return Journal(
            folder_of(store.url),
            session_id=session_id,
            durability=durability.value,
            redaction=redaction.value,
            is_full=is_full,
            max_bytes=max_bytes,
            failures=FailureLog(),
            in_memory=place == "memory",
        )
    if is_full:
        why = "this system cannot lock and allocate files" if is_file else "its journal lies beside a file"
        raise ConfigError(
            f"cannot record to '{store.url}' with durability 'emit': {why}; use 'commit', or another store"
        )
    return None


def is_all_written(report: FlushReport) -> bool:
    """Whether nothing waits that the next process could still write."""
    return report.pending == 0 and not any(reason in report.dropped for reason in _LEFT_OVER)
