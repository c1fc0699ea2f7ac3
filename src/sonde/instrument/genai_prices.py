"""GenaiPrices: the price table of the optional package ``genai-prices``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from sonde.errors import MissingExtraError
from sonde.instrument.prices import NoPrices, PriceTable


class GenaiPrices:
    """Prices from the table that the package ``genai-prices`` carries, offline.

    The package (some 2,000 models, pydantic) loads at the first call that needs it, on the thread that asks. Its table
    doesn't say when it was made, so the name holds the package's version, and ``date`` is the newest day, not after
    today, on which one of its prices began (a change announced before the release counts from its day). After the
    package's own updater ran, it is the day of that update. Prices are those of the call's time. Of a provider that
    the table doesn't know it says nothing.

    Raises:
        MissingExtraError: the package is not installed.
    """

    def __init__(self) -> None:
        if not _installed():
            raise MissingExtraError(
                "cannot use GenaiPrices: the package genai-prices is not installed; pip install 'sonde[prices]'"
            )
        self._dated: tuple[object, date, str] | None = None  # a table, the day it was looked at, what was found

    @property
    def name(self) -> str:
        """``genai-prices`` and its version."""
        import genai_prices

        return f"genai-prices {genai_prices.__version__}"

    @property
    def date(self) -> str:
        """The newest day, up to today (UTC), on which a price of the table began, in ISO form; empty if none has one.

        After an update over the network that the program asked the package for: the day of that update. Some 5 ms once
        a day, else nothing.
        """
        from genai_prices.data_snapshot import get_snapshot

        snapshot = get_snapshot()
        if snapshot.from_auto_update:
            return snapshot.timestamp.date().isoformat()
        today = datetime.now(UTC).date()
        dated = self._dated
        if dated is None or dated[0] is not snapshot or dated[1] != today:
            dated = self._dated = (snapshot, today, newest_start(snapshot.providers, today))
        return dated[2]

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
        time_ns: int = 0,
    ) -> float | None:
        """What a call cost, in US dollars; ``None`` for models and providers that the table doesn't hold."""
        from genai_prices import Usage, calc_price

        # Its input and output are sums: they hold the cached and the reasoning tokens too. Ours are disjoint.
        usage = Usage(
            input_tokens=input_tokens + cache_read_tokens + cache_write_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            output_tokens=output_tokens + reasoning_tokens,
            output_reasoning_tokens=reasoning_tokens,
        )
        moment = datetime.fromtimestamp(time_ns / 1e9, UTC) if time_ns else None
        try:
            found = calc_price(usage, model, provider_id=provider, genai_request_timestamp=moment)
        except LookupError:
            return None
        return float(found.total_price)


def newest_start(providers: Iterable[Any], today: date) -> str:
    """The newest day on which a price of these begins; days to come were announced, and tell no age."""
    starts = [
        start
        for provider in providers
        for model in provider.models
        for prices in (model.prices, getattr(model, "price_variants", None))
        if isinstance(prices, list | tuple)  # a price alone holds always
        for one in prices
        if isinstance(start := getattr(getattr(one, "constraint", None), "start_date", None), date) and start <= today
    ]
    return max(starts).isoformat() if starts else ""


def default_prices() -> PriceTable:
    """The table for those who chose none: :class:`GenaiPrices` if its package is installed, else :class:`NoPrices`."""
    return GenaiPrices() if _installed() else NoPrices()


def _installed() -> bool:
    return importlib.util.find_spec("genai_prices") is not None
