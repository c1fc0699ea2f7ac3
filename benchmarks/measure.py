"""Interleaved measurements: each candidate in turn, round after round, so that the machine's drift hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """What one candidate measured, a value a round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value: it forgives a round in which the machine did something else."""
        return statistics.median(self.values)


def interleave(candidates: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, Series]:
    """Run every candidate once a round, after one round that does not count."""
    values: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            value = candidate()
            if number:
                values[name].append(value)
    return {name: Series(tuple(series)) for name, series in values.items()}


def ratio(numerator: Series, denominator: Series) -> Series:
    """Round by round, so that its spread is that of the comparison and not that of the machine."""
    return Series(tuple(a / b for a, b in zip(numerator.values, denominator.values, strict=True)))
