"""Bench: a comparison. Its candidates take turns, round after round, so that the machine's drift hits all alike."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.measure import Series


@dataclass(frozen=True, slots=True)
class Load:
    """How much is measured: ``quick`` is for a look, ``full`` for what takes hours."""

    quick: bool = False
    full: bool = False

    @property
    def seconds(self) -> float:
        """How long one candidate is timed in one round."""
        return 0.05 if self.quick else 0.25

    def count(self, normal: int, *, quick: int | None = None, full: int | None = None) -> int:
        """How many of something; a tenth in a quick run, unless said otherwise."""
        if self.quick:
            return max(1, normal // 10) if quick is None else quick
        return full if self.full and full is not None else normal


Candidate = Callable[[Load], Mapping[str, float]]
"""Sets up, measures once, cleans up; gives each measure's value. Its docstring is its configuration."""

REGISTRY: dict[str, Bench] = {}


@dataclass(slots=True)
class Bench:
    """One comparison.

    ``units`` names the measures and their units, ``reference`` the candidate that the others are divided by. Where
    ``warm_up``, a first round does not count. ``prepare``
    is called before all rounds, for candidates that depend on the load.
    """

    name: str
    about: str
    units: Mapping[str, str]
    reference: str
    rounds: int = 7
    warm_up: bool = True
    candidates: dict[str, Candidate] = field(default_factory=dict)
    configurations: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Load], None] | None = None

    def __post_init__(self) -> None:
        REGISTRY[self.name] = self

    def add(self, name: str, candidate: Candidate, configuration: str) -> None:
        """Let ``candidate`` take part under ``name``."""
        self.candidates[name] = candidate
        self.configurations[name] = " ".join(configuration.split())

    def candidate(self, name: str) -> Callable[[Candidate], Candidate]:
        """Decorate a function that measures: it takes part under ``name``."""

        def register(function: Candidate) -> Candidate:
            self.add(name, function, inspect.getdoc(function) or "")
            return function

        return register

    def run(self, load: Load, *, rounds: int | None = None) -> dict[str, dict[str, Series]]:
        """Measure. The values of each measure of each candidate, one a round."""
        if self.prepare is not None:
            self.prepare(load)
        count = self.rounds if rounds is None else min(rounds, self.rounds)
        values: dict[str, dict[str, list[float]]] = {name: {} for name in self.candidates}
        # What the imported libraries hold is out of the collector's sight: it would cost some candidates more.
        gc.collect()
        gc.freeze()
        for number in range(0 if self.warm_up else 1, count + 1):
            for name, candidate in self.candidates.items():
                show(f"{self.name}: round {number} of {count}, {name}")
                gc.collect()
                for measure, value in candidate(load).items():
                    if number:
                        values[name].setdefault(measure, []).append(value)
        show("")
        return {name: {key: Series(tuple(row)) for key, row in rows.items()} for name, rows in values.items()}


def show(progress: str) -> None:
    """The line of progress, where a person sees it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{progress}", end="", file=sys.stderr, flush=True)
