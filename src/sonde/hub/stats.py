"""HubStats: the hub's ledger. Every published event is in exactly one of its columns."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SubscriptionStats:
    """The ledger of one subscription: ``offered == taken + queued + sum(dropped.values())`` at any quiet moment.

    Gap notices are in none of the figures.
    """

    id: str
    offered: int
    taken: int
    queued: int
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HubStats:
    """The ledger of a hub: ``published == handed_over + queued + sum(dropped.values())`` at any quiet moment.

    Attributes:
        subscriber_count: live subscriptions and recorders.
        queue_size: as configured.
        queued: published and not yet handed over by the hub's thread.
        batch_size: as configured.
        rate_limit: as configured; ``None`` is unlimited.
        published: calls of ``publish`` and ``emit`` that did their append or were counted as dropped.
        handed_over: events that went to every subscription there was, of which there may be none.
        dropped: events offered to no subscription, by reason: ``closed`` (published after ``close``), ``overloaded``
            (more than memory may hold came faster than the hub's thread could take it), ``invalid`` (no event could be
            made of the arguments), ``failed`` (a fault in sonde).
        live_dropped: what live subscriptions missed, summed over them, by reason: ``queue_full``, ``subscriber_full``
            (did not fit when ``flush`` or ``close`` would not wait), ``rate_limited``.
        subscriptions: a row for each live subscription that is open.
        recorders: a row for each recorder's subscription; its reason to drop is ``pending_full``.
        failures: what went wrong in the background and was logged, by kind.
    """

    subscriber_count: int
    queue_size: int
    queued: int
    batch_size: int
    rate_limit: float | None
    published: int
    handed_over: int
    dropped: dict[str, int]
    live_dropped: dict[str, int]
    subscriptions: tuple[SubscriptionStats, ...]
    recorders: tuple[SubscriptionStats, ...]
    failures: dict[str, int] = field(default_factory=dict)
