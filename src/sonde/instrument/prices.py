"""Prices: what the tokens of a model call cost, where nobody reported it."""

from __future__ import annotations

import math
from typing import Any, Protocol, TypeVar

import msgspec

from sonde.events import Event
from sonde.instrument.fault import report_fault

E = TypeVar("E", bound=Event)

TOKEN_KEYS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

_PRICED = frozenset({"model.completed", "model.failed", "model.cancelled"})


class PriceTable(Protocol):
    """A seam with one method, called on one background thread: it may block for a moment, but must use no network."""

    @property
    def name(self) -> str:
        """Which table it is, with its version if it has one: recorded as ``price_table``."""
        ...

    @property
    def date(self) -> str:
        """The day that the prices are from, ISO 8601: recorded as ``price_date``; empty: nobody says."""
        ...

    def cost_usd(
        self,
        model: str,
        provider: str | None,
        *,
        input_tokens: int,
        output_tokens: int,
        cache_read_tokens: int,
        cache_write_tokens: int,
        reasoning_tokens: int,
        time_ns: int,
    ) -> float | None:
        """What a call at ``time_ns`` (Unix time) cost, in US dollars; ``None``: the table doesn't know.

        The five counts are disjoint: a token that was read from the cache is in ``cache_read_tokens`` only.
        """
        ...


class NoPrices:
    """The table that knows no price: costs that nobody reports stay unknown.

    >>> NoPrices().name
    'none'
    """

    name = "none"
    date = ""

    def cost_usd(self, model: str, provider: str | None, **tokens: int) -> float | None:
        """Nothing is known."""
        return None


def price(event: E, table: PriceTable) -> E:
    """``event`` with what its tokens cost, if it ends a model call and says no cost itself; else the same object.

    Adds ``cost_usd``, ``cost_source: "computed"``, ``price_table`` and ``price_date``; where the table doesn't know, or
    a count is no count, ``cost_source: "unknown"`` alone. Pure but for the table; never raises.

    >>> done = Event("model.completed", data={"model": "claude-x", "input_tokens": 12})
    >>> price(done, NoPrices()).data["cost_source"]
    'unknown'
    """
    data = event.data
    if event.type not in _PRICED or data.get("cost_usd") is not None:
        return event
    given = {key: data[key] for key in TOKEN_KEYS if data.get(key) is not None}
    if not given:
        return event
    return msgspec.structs.replace(event, data={**data, **_cost(data, given, table, event.time_ns)})


def _cost(data: dict[str, Any], given: dict[str, Any], table: PriceTable, time_ns: int) -> dict[str, Any]:
    unknown = {"cost_source": "unknown"}
    model, provider = data.get("model"), data.get("provider")
    if not isinstance(model, str) or any(type(count) is not int or count < 0 for count in given.values()):
        return unknown
    try:
        counts = {key: given.get(key, 0) for key in TOKEN_KEYS}
        cost = table.cost_usd(model, provider if isinstance(provider, str) else None, **counts, time_ns=time_ns)
        if cost is None or not math.isfinite(cost) or cost < 0:
            return unknown
        found: dict[str, Any] = {"cost_usd": float(cost), "cost_source": "computed", "price_table": table.name}
        if table.date:
            found["price_date"] = table.date
    except Exception:  # noqa: BLE001 - a table may be the user's own
        report_fault("compute what a model call cost")
        return unknown
    return found
