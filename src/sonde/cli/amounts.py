"""Amounts: durations and sizes as a person types them, ``30d`` and ``2GB``."""

from __future__ import annotations

import math
import re
from typing import Any

import click

_AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_BYTES = {
    "b": 1,
    **{unit: 1000**power for power, letter in enumerate("kmgt", 1) for unit in (letter, f"{letter}b")},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}


def seconds_of(text: str) -> float:
    """A duration: a number with s, m (or min), h, d or w.

    Raises:
        ValueError: it is none.

    >>> seconds_of("90s"), seconds_of("1.5h"), seconds_of("30 d")
    (90.0, 5400.0, 2592000.0)
    """
    return _amount(text, _SECONDS)


def bytes_of(text: str) -> int:
    """A size: a number with B, kB, MB, GB, TB (thousands), KiB, MiB, GiB or TiB.

    Raises:
        ValueError: it is none.

    >>> bytes_of("2GB"), bytes_of("1.5 MiB"), bytes_of("4096 B")
    (2000000000, 1572864, 4096)
    """
    return int(_amount(text, _BYTES))


def _amount(text: str, units: dict[str, int]) -> float:
    match = _AMOUNT.fullmatch(text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(text)
    amount = float(match[1]) * factor
    if not math.isfinite(amount):
        raise ValueError(text)
    return amount


class Age(click.ParamType[float]):
    """A duration as a command takes it."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; a usage error for what is none, or less than one."""
        try:
            seconds = float(value) if isinstance(value, int | float) else seconds_of(value)
        except ValueError:
            seconds = 0.0
        if seconds < 1:
            self.fail(
                f"'{value}' is no duration of a second or more, with its unit; write it as 12h, 30d or 8w.", param, ctx
            )
        return seconds


class Size(click.ParamType[int]):
    """A size as a command takes it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes; a usage error for what is none, or less than one."""
        try:
            size = value if isinstance(value, int) else bytes_of(value)
        except ValueError:
            size = 0
        if size < 1:
            self.fail(f"'{value}' is no size of a byte or more, with its unit; write it as 500MB or 2GB.", param, ctx)
        return size
