"""Pricing: what a model call cost, added before it is written."""

from __future__ import annotations

from sonde.events import Event
from sonde.instrument import PriceTable, price


class Pricing:
    """Adds what a model call cost; on the persister's thread, since the table may have to be loaded."""

    def __init__(self, table: PriceTable) -> None:
        self._table = table

    def __call__(self, event: Event) -> Event:
        """The event with its cost, if it is one that has one and nobody reported it."""
        return price(event, self._table) if event.type in _PRICED else event


_PRICED = frozenset({"model.completed", "model.failed", "model.cancelled"})
