"""FilePrices: the user's own price table, in JSON or TOML."""

from __future__ import annotations

import json
import math
import tomllib
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

from sonde.errors import ConfigError
from sonde.instrument.prices import TOKEN_KEYS

_TOKENS_PER_PRICE = 1_000_000


class FilePrices:
    """Prices from a file, in US dollars for a million tokens.

    ::

        date = "2026-11-01"                      # the day that the prices are from; required
        name = "our contract"                    # optional, by default the file's name

        [models."claude-x-*"]                    # a model, or a pattern with * and ?; "provider/model" works too
        input_tokens = 3.0
        output_tokens = 15.0
        cache_read_tokens = 0.3
        cache_write_tokens = 3.75

    A name without ``*`` or ``?`` goes before patterns, and patterns count in the file's order. ``reasoning_tokens``
    cost what ``output_tokens`` cost unless the file says otherwise; a call with tokens of another kind that has no
    price stays unknown. The file is read once. Immutable, safe to share between threads.

    Raises:
        ConfigError: the file can't be read, or something in it can't be a price; the message names the key.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    ...     _ = file.write('{"date": "2026-11-01", "models": {"claude-*": {"input_tokens": 3, "output_tokens": 15}}}')
    ...     file.flush()
    ...     table = FilePrices(file.name)
    >>> table.cost_usd("claude-x", None, input_tokens=1_000_000, output_tokens=0)
    3.0
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        path = Path(path)
        document = _read(path)
        unknown = sorted(map(str, document.keys() - {"date", "name", "models"}))
        if unknown:
            raise _wrong(path, unknown[0], document[unknown[0]], "date, name and models only")
        self.date = _date(path, document.get("date"))
        name = document.get("name", path.name)
        if not isinstance(name, str):
            raise _wrong(path, "name", name, "a text")
        self.name = name
        models = document.get("models")
        if not isinstance(models, dict):
            raise _wrong(path, "models", models, "a table of models")
        self._models = {model: _rates(path, model, rates) for model, rates in models.items()}
        self._find = lru_cache(maxsize=1_024)(self._search)

    def cost_usd(
        self,
        model: str,
        provider: str | None,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
        time_ns: int = 0,
    ) -> float | None:
        """What a call cost, in US dollars; ``None`` where the file has no price for it. ``time_ns`` doesn't matter."""
        rates = self._find(model, provider)
        if rates is None:
            return None
        counts = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens)
        cost_usd = 0.0
        for key, count in zip(TOKEN_KEYS, counts, strict=True):
            if count:
                rate = rates.get(key)
                if rate is None:
                    return None
                cost_usd += count * rate / _TOKENS_PER_PRICE
        return cost_usd

    def _search(self, model: str, provider: str | None) -> dict[str, float] | None:
        names = (f"{provider}/{model}", model) if provider else (model,)
        for name in names:
            if name in self._models:
                return self._models[name]
        return next(
            (rates for pattern, rates in self._models.items() if any(fnmatchcase(name, pattern) for name in names)),
            None,
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"cannot read prices {str(path)!r}: {error}; expected a JSON or TOML file") from None
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise ConfigError(f"cannot read prices {str(path)!r}: a {kind}; expected an object with a date and models")
    return document


def _date(path: Path, value: Any) -> str:
    try:
        day = value if isinstance(value, date) else date.fromisoformat(value)
    except (TypeError, ValueError):
        raise _wrong(path, "date", value, 'the day that the prices are from, such as "2026-11-01"') from None
    return day.isoformat()[:10]


def _rates(path: Path, model: str, rates: Any) -> dict[str, float]:
    if not isinstance(rates, dict):
        raise _wrong(path, f"models.{model}", rates, "a table of prices")
    for key, rate in rates.items():
        place = f"models.{model}.{key}"
        if key not in TOKEN_KEYS:
            raise _wrong(path, place, rate, f"one of {', '.join(TOKEN_KEYS)}")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not math.isfinite(rate) or rate < 0:
            raise _wrong(path, place, rate, "US dollars for a million tokens, 0 or more")
    prices = {key: float(rate) for key, rate in rates.items()}
    if "output_tokens" in prices:
        prices.setdefault("reasoning_tokens", prices["output_tokens"])
    return prices


def _wrong(path: Path, key: str, value: Any, expected: str) -> ConfigError:
    found = "nothing" if value is None else repr(value)[:80]
    return ConfigError(f"cannot read prices {str(path)!r}: {key} is {found}; expected {expected}; correct the file")
