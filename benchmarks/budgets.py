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


Statistic = Literal["rounds", "medians", "worst"]
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

    ``statistic``: ``rounds``, the median of each round's ratio; ``medians``, the ratio of the medians, where a single
    round is luck, such as a worst case; ``worst``, the worst round.
    """

    what: str
    ours: Where
    theirs: Where | None
    direction: Literal["≤", "≥"]
    bound: float
    unit: str = ""
    statistic: Statistic = "rounds"

    @property
    def bound_text(self) -> str:
        """As the table shows it."""
        return f"{self.direction} {self.bound:,.4g}{f' {self.unit}' if self.unit else ''}"

    def judge(self, look: Look) -> Verdict:
        """Compare with what a run found."""
        ours = look(*self.ours)
        theirs = None if self.theirs is None else look(*self.theirs)
        if ours is None or (self.theirs is not None and theirs is None):
            return Verdict(self, Standing.UNMEASURED)
        found = ours if theirs is None else ours.over(theirs)
        value = found.median
        if self.statistic == "medians" and theirs is not None:
            value = ours.median / theirs.median
        elif self.statistic == "worst":
            value = found.high if self.direction == "≤" else found.low
        is_met = value <= self.bound if self.direction == "≤" else value >= self.bound
        return Verdict(self, Standing.MET if is_met else Standing.SHORT, found, value)


_OTEL = Where("emit", "OpenTelemetry log", "wall")
_ONE_LIVE = Where("emit", "sonde, 1 live", "wall")


def _growth(measure: str, large: str, small: str) -> Budget:
    return Budget(
        f"{measure} at {large} / at {small}",
        Where("growth", f"{large} events", measure),
        Where("growth", f"{small} events", measure),
        "≤",
        1.5,
    )


BUDGETS = (
    Budget("emit, 1 live subscriber / OpenTelemetry log", _ONE_LIVE, _OTEL, "≤", 1 / 12),
    Budget("emit, 1 live subscriber / logfire.info", _ONE_LIVE, Where("emit", "Logfire", "wall"), "≤", 1 / 100),
    Budget("emit, recording to disk / OpenTelemetry log", Where("emit", "sonde, recording", "wall"), _OTEL, "≤", 1 / 8),
    Budget(
        "emit, durability emit / OpenTelemetry log", Where("emit", "sonde, durability emit", "wall"), _OTEL, "≤", 1 / 4
    ),
    *(
        Budget(
            f"delivered/s, {count} subscribers / bare loop",
            Where("delivery", f"sonde, {count}", "rate"),
            Where("delivery", f"bare loop, {count}", "rate"),
            "≥",
            1 / 2,
        )
        for count in (1, 4)
    ),
    Budget(
        "durable events/s / original's schema",
        Where("durable", "sonde", "rate"),
        Where("durable", "original's schema", "rate"),
        "≥",
        1.5,
    ),
    Budget(
        "durable events/s beside a busy thread / idle",
        Where("durable", "sonde, busy", "rate"),
        Where("durable", "sonde", "rate"),
        "≥",
        1 / 5,
    ),
    Budget(
        "speed that the busy thread keeps at 10,000 events/s",
        Where("beside a busy thread", "sonde, recording", "turns"),
        Where("beside a busy thread", "a call that does nothing", "turns"),
        "≥",
        0.85,
    ),
    Budget(
        "bytes an event / original's schema",
        Where("size", "sonde", "size"),
        Where("size", "original's schema", "size"),
        "≤",
        0.5,
    ),
    Budget(
        "bytes an event with span ids / original's schema without",
        Where("size", "sonde, span ids", "size"),
        Where("size", "original's schema", "size"),
        "≤",
        0.6,
    ),
    Budget(
        "reading into events / json.loads loop over original's schema",
        Where("reading", "sonde", "rate"),
        Where("reading", "original's schema, json.loads", "rate"),
        "≥",
        2.0,
    ),
    *(
        Budget(
            f"{name}, one update / prometheus_client",
            Where(name, "sonde", "wall"),
            Where(name, "prometheus_client", "wall"),
            "≤",
            bound,
        )
        for name, bound in (("counter by name", 1 / 5), ("counter", 1 / 2), ("histogram", 1 / 2))
    ),
    Budget(
        "import sonde / import opentelemetry.sdk.trace",
        Where("import", "import sonde", "time"),
        Where("import", "import opentelemetry.sdk.trace", "time"),
        "≤",
        3 / 5,
    ),
    Budget(
        "modules of web, CLI, OpenTelemetry that record() loads",
        Where("import", "import sonde, record()", "unwanted"),
        None,
        "≤",
        0,
        statistic="worst",
    ),
    Budget(
        "p99 of emit while the writer works / median OpenTelemetry log",
        Where("latency", "sonde, recording", "p99"),
        Where("latency", "OpenTelemetry log", "p50"),
        "≤",
        3,
    ),
    Budget(
        "worst emit of 8 threads × 5,000 events/s",
        Where("8 threads, paced", "sonde, recording", "max"),
        None,
        "≤",
        20_000,
        unit="µs",
        statistic="worst",
    ),
    Budget(
        "worst emit of 8 threads flat out / a call that does nothing",
        Where("8 threads, flat out", "sonde, recording", "max"),
        Where("8 threads, flat out", "a call that does nothing", "max"),
        "≤",
        2,
        statistic="medians",
    ),
    _growth("append", "1,000,000", "100,000"),
    _growth("last 100", "1,000,000", "100,000"),
    _growth("append", "30,000,000", "1,000,000"),
    _growth("last 100", "30,000,000", "1,000,000"),
    Budget(
        "wall time of the agent, recorded / not",
        Where("agent", "sonde, recording", "wall"),
        Where("agent", "nobody listens", "wall"),
        "≤",
        1.01,
    ),
    Budget(
        "bytes on disk of the agent / its text, each once, compressed by zlib",
        Where("agent", "sonde, recording", "stored, compressed"),
        None,
        "≤",
        1.5,
    ),
    Budget("close() of an idle recorder", Where("agent", "sonde, recording", "close"), None, "≤", 50, unit="ms"),
)
