"""Usage: tokens and cost as an event's data states them, in sonde's keys and in the original's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

TOKEN_KEYS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
"""Disjoint: each token counts in one of them."""

_NUMBERS = (int, float)
_LARGEST = sys.float_info.max

CostSource = Literal["reported", "computed", "unknown"]

_ALIASES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
_COST_KEYS = ("cost_usd", "usd")
_DURATION_KEYS = (("duration_s", 1), ("duration_ms", 1000))


class Cost(NamedTuple):
    """US dollars and where the figure comes from; ``None`` is unknown, which is not the same as free."""

    usd: float | None
    source: CostSource


UNKNOWN_COST = Cost(None, "unknown")


def tokens_of(data: Mapping[str, Any]) -> dict[str, int]:
    """The token counts in ``data`` under sonde's keys; empty if it states none.

    >>> tokens_of({"prompt_tokens": 10, "completion_tokens": 2, "model": "m"})
    {'input_tokens': 10, 'output_tokens': 2}
    """
    found: dict[str, int] = {}
    for key in TOKEN_KEYS:
        value = data.get(key)
        if value is None and key in _ALIASES:
            value = data.get(_ALIASES[key])
        if value is not None and is_number(value) and value >= 0:
            found[key] = int(value)
    return found


def cost_of(data: Mapping[str, Any]) -> Cost:
    """The cost that ``data`` states; a figure without a source was reported.

    >>> cost_of({"usd": 0.25})
    Cost(usd=0.25, source='reported')
    >>> cost_of({}).usd is None
    True
    """
    for key in _COST_KEYS:
        value = data.get(key)
        if value is not None and is_number(value):
            source = data.get("cost_source")
            if source == "unknown":
                return UNKNOWN_COST
            return Cost(float(value), "computed" if source == "computed" else "reported")
    return UNKNOWN_COST


def duration_of(data: Mapping[str, Any]) -> float | None:
    """The duration that ``data`` states, in seconds: ``duration_s``, or the original's ``duration_ms``.

    >>> duration_of({"duration_ms": 1500})
    1.5
    """
    for key, per_s in _DURATION_KEYS:
        value = data.get(key)
        if value is not None and is_number(value):
            return float(value / per_s)
    return None


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold; ``True`` and ``False`` are none.

    >>> is_number(1), is_number(float("nan")), is_number(True), is_number("1")
    (True, False, False, False)
    """
    kind = value.__class__  # these two are nearly all, and asking isinstance costs four times as much
    if kind is float or kind is int or (isinstance(value, _NUMBERS) and kind is not bool):
        return bool(-_LARGEST <= value <= _LARGEST)  # false for NaN; no conversion that an integer may be too large for
    return False


def add_tokens(total: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts to ``total``, in place."""
    for key, count in more.items():
        total[key] = total.get(key, 0) + count
