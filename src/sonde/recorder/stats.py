"""RecorderStats: how a recorder is doing."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.hub import HubStats


@dataclass(frozen=True, slots=True)
class RecorderStats:
    """The ledgers of a recorder, from publish to disk.

    Attributes:
        session_id: its own session.
        db: path or URL of the store.
        hub: the hub's ledger.
        committed: events in the store.
        pending: events published and not yet committed.
        pending_bytes: what those hold in memory, estimated.
        dropped: events that will never be in the store, by reason; each is counted in a ``sonde.gap`` event there. What
            was published after ``close`` is in ``hub.dropped`` alone.
        failures: what went wrong in the background, by kind and count. The logger ``sonde`` has the words.
        error: why the store takes nothing at the moment, if so.
        durability: what an event survives once ``emit`` has returned, or once it is committed: as :func:`record` was
            asked for.
        unjournaled: with durability ``emit``: events that survive a kill only once they are committed, since there was
            no room for a copy.
        journal_bytes: with durability ``emit``: what those copies take of memory, or of the disk.
    """

    session_id: str
    db: str
    hub: HubStats
    committed: int
    pending: int
    pending_bytes: int
    dropped: dict[str, int]
    failures: dict[str, int]
    error: str | None
    durability: str = "commit"
    unjournaled: int = 0
    journal_bytes: int = 0
