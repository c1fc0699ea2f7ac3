"""Budgets: what sonde may cost, as ratios between candidates of one comparison. Kept by people, not by a timed test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from benchmarks.measure import Series


class Where(NamedTuple):
    """One figure of a run."""

    bench: str
    candidate: str
    measure: str


Look = Callable[[str, str, str], Series | None]


class Standing(Enum):
    """How a budget fared."""

    MET = "met"
    SHORT = "falls short"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A budget, what was found, and how it fared."""

    budget: Budget
    standing: Standing
    found: Series | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """``ours``, divided by ``theirs`` if there is one, is to be at most (or at least) ``bound``.

    The median of the ratios of the rounds counts; with ``of_medians``, the ratio of the medians: where a single round
    is luck, such as a worst case.
    """

    what: str
    ours: Where
    theirs: Where | None
    direction: Literal["≤", "≥"]
    bound: float
    unit: str = ""
    of_medians: bool = False

    @property
    def bound_text(self) -> str:
        """As the table shows it."""
        return f"{self.direction} {self.bound:.3g}{f' {self.unit}' if self.unit else ''}"

    def judge(self, look: Look) -> Verdict:
        """Compare with what a run found."""
        ours = look(*self.ours)
        theirs = None if self.theirs is None else look(*self.theirs)
        if ours is None or (self.theirs is not None and theirs is None):
            return Verdict(self, Standing.UNMEASURED)
        found = ours if theirs is None else ours.over(theirs)
        value = ours.median / theirs.median if theirs is not None and self.of_medians else found.median
        is_met = value <= self.bound if self.direction == "≤" else value >= self.bound
        return Verdict(self, Standing.MET if is_met else Standing.SHORT, found, value)


_OTEL = Where("emit", "OpenTelemetry log", "wall")

BUDGETS = (
    Budget("emit, 1 live subscriber / OpenTelemetry log", Where("emit", "sonde, 1 live", "wall"), _OTEL, "≤", 1 / 12),
    Budget(
        "emit, 1 live subscriber / logfire.info",
        Where("emit", "sonde, 1 live", "wall"),
        Where("emit", "Logfire", "wall"),
        "≤",
        1 / 100,
    ),
    Budget("emit, recording to disk / OpenTelemetry log", Where("emit", "sonde, recording", "wall"), _OTEL, "≤", 1 / 8),
)
