"""GenaiPrices: the price table of the optional package ``genai-prices``."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime

from sonde.errors import MissingExtraError
from sonde.instrument.prices import NoPrices, PriceTable


class GenaiPrices:
    """Prices from the table that the package ``genai-prices`` carries, offline.

    The package (some 2,000 models, pydantic) loads at the first call that needs it, on the thread that asks. Its table
    has no date of its own, so the name holds the package's version; after the package's own updater ran, ``date`` is
    the day of that update. Prices are those of the call's time. Of a provider that the table doesn't know it says
    nothing.

    Raises:
        MissingExtraError: the package is not installed.
    """

    def __init__(self) -> None:
        if not _installed():
            raise MissingExtraError(
                "cannot use GenaiPrices: the package genai-prices is not installed; pip install 'sonde[prices]'"
            )

    @property
    def name(self) -> str:
        """``genai-prices`` and its version."""
        import genai_prices

        return f"genai-prices {genai_prices.__version__}"

    @property
    def date(self) -> str:
        """The day of the last update over the network that the program asked the package for; else empty."""
        from genai_prices.data_snapshot import get_snapshot

        snapshot = get_snapshot()
        return snapshot.timestamp.date().isoformat() if snapshot.from_auto_update else ""

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


def default_prices() -> PriceTable:
    """The table for those who chose none: :class:`GenaiPrices` if its package is installed, else :class:`NoPrices`."""
    return GenaiPrices() if _installed() else NoPrices()


def _installed() -> bool:
    return importlib.util.find_spec("genai_prices") is not None
