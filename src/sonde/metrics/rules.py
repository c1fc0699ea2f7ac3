"""Rules: which metrics events give. Data, not code: a table with a version, that :class:`DerivedMetrics` carries out.

Events state *facts* (a call of a tool ended, a call of a model used tokens), and each rule says under which name, with
which labels, a fact is counted. A label whose value a fact leaves open is left out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from sonde.metrics.metric import MetricType
from sonde.metrics.names import (
    ACTIVE_SESSIONS,
    MODEL_LATENCY_SECONDS,
    MODEL_REQUESTS_TOTAL,
    TOOL_CALLS_TOTAL,
    TOOL_DURATION_SECONDS,
)

RULES_VERSION: Final = "1"
"""Raised when a rule changes: figures of different versions are not comparable."""

GENAI_CONVENTIONS: Final = "open-telemetry/semantic-conventions-genai, status Development, as of November 2026"
"""The GenAI conventions that the twins follow. They are not stable: a new reading is a new version of the rules."""

MODEL_TOKENS_TOTAL: Final = "model_tokens_total"
MODEL_COST_USD_TOTAL: Final = "model_cost_usd_total"
MODEL_UNKNOWN_COST_CALLS: Final = "model_unknown_cost_calls"
OPERATION_FAILURES_TOTAL: Final = "operation_failures_total"

GENAI_DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
"""Seconds: doubling from 0.01 to 81.92."""

GENAI_TOKEN_BUCKETS: Final = tuple(float(4**power) for power in range(14))
"""Tokens: the powers of 4 from 1 to 4^13."""


class Fact(StrEnum):
    """What events can state."""

    TOOL_CALL = "tool call"
    TOOL_DURATION = "tool duration"
    MODEL_CALL = "model call"
    MODEL_DURATION = "model duration"
    MODEL_FIRST_TOKEN = "model first token"
    MODEL_TOKENS = "model tokens"
    MODEL_USAGE = "model usage"
    MODEL_COST = "model cost"
    MODEL_UNKNOWN_COST = "model unknown cost"
    FAILURE = "failure"
    SESSION = "session"


_MODEL_CALL = ("operation", "provider", "model", "error_type")

TERMS: Final[dict[Fact, tuple[str, ...]]] = {
    Fact.TOOL_CALL: ("tool",),
    Fact.TOOL_DURATION: ("tool", "error_type"),
    Fact.MODEL_CALL: ("model",),
    Fact.MODEL_DURATION: _MODEL_CALL,
    Fact.MODEL_FIRST_TOKEN: _MODEL_CALL,
    Fact.MODEL_TOKENS: ("model", "kind"),
    Fact.MODEL_USAGE: ("operation", "provider", "model", "token_type"),
    Fact.MODEL_COST: ("model", "source"),
    Fact.MODEL_UNKNOWN_COST: ("model",),
    Fact.FAILURE: ("kind", "error_type"),
    Fact.SESSION: (),
}
"""What each fact says besides its value, in this order."""


class Rule(NamedTuple):
    """How one metric is made of one fact.

    Attributes:
        fact: what is counted; its value is added, or observed.
        name: the metric's.
        type: its type.
        labels: each label, and the term of the fact that it shows.
        help: what it measures, in a sentence.
        unit: as OpenMetrics has it; empty for plain numbers.
        buckets: a histogram's, if they are not the default ones.
        convention: the name in the GenAI conventions, if it is one of theirs.
    """

    fact: Fact
    name: str
    type: MetricType
    labels: tuple[tuple[str, str], ...]
    help: str
    unit: str = ""
    buckets: tuple[float, ...] | None = None
    convention: str = ""


_COUNTER, _GAUGE, _HISTOGRAM = MetricType.COUNTER, MetricType.GAUGE, MetricType.HISTOGRAM
_TOOL = ("tool_name", "tool")
_MODEL = ("model", "model")
_GENAI_CALL = (
    ("gen_ai_operation_name", "operation"),
    ("gen_ai_provider_name", "provider"),
    ("gen_ai_request_model", "model"),
)
_ERROR = ("error_type", "error_type")

RULES: Final[tuple[Rule, ...]] = (
    Rule(Fact.TOOL_CALL, TOOL_CALLS_TOTAL, _COUNTER, (_TOOL,), "Calls of tools that have ended."),
    Rule(Fact.TOOL_DURATION, TOOL_DURATION_SECONDS, _HISTOGRAM, (_TOOL,), "How long calls of tools took.", "seconds"),
    Rule(
        Fact.TOOL_DURATION,
        "gen_ai_execute_tool_duration_seconds",
        _HISTOGRAM,
        (("gen_ai_tool_name", "tool"), _ERROR),
        "How long calls of tools took.",
        "seconds",
        GENAI_DURATION_BUCKETS,
        "gen_ai.execute_tool.duration",
    ),
    Rule(Fact.MODEL_CALL, MODEL_REQUESTS_TOTAL, _COUNTER, (_MODEL,), "Requests to models that have ended."),
    Rule(
        Fact.MODEL_DURATION, MODEL_LATENCY_SECONDS, _HISTOGRAM, (_MODEL,), "How long models took to answer.", "seconds"
    ),
    Rule(
        Fact.MODEL_DURATION,
        "gen_ai_client_operation_duration_seconds",
        _HISTOGRAM,
        (*_GENAI_CALL, _ERROR),
        "How long requests to models took.",
        "seconds",
        GENAI_DURATION_BUCKETS,
        "gen_ai.client.operation.duration",
    ),
    Rule(
        Fact.MODEL_FIRST_TOKEN,
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        _HISTOGRAM,
        (*_GENAI_CALL, _ERROR),
        "How long models took to begin their answer.",
        "seconds",
        GENAI_DURATION_BUCKETS,
        "gen_ai.client.operation.time_to_first_chunk",
    ),
    Rule(
        Fact.MODEL_TOKENS,
        MODEL_TOKENS_TOTAL,
        _COUNTER,
        (_MODEL, ("kind", "kind")),
        "Tokens that models used; each counts under one kind.",
        "tokens",
    ),
    Rule(
        Fact.MODEL_USAGE,
        "gen_ai_client_token_usage",
        _HISTOGRAM,
        (*_GENAI_CALL, ("gen_ai_token_type", "token_type")),
        "Tokens that a request used: input with the cached ones, output with those of reasoning.",
        "",
        GENAI_TOKEN_BUCKETS,
        "gen_ai.client.token.usage",
    ),
    Rule(
        Fact.MODEL_COST,
        MODEL_COST_USD_TOTAL,
        _COUNTER,
        (_MODEL, ("source", "source")),
        "What requests to models cost, as far as it is known.",
        "usd",
    ),
    Rule(
        Fact.MODEL_UNKNOWN_COST,
        MODEL_UNKNOWN_COST_CALLS,
        _GAUGE,
        (_MODEL,),
        "Requests to models that have ended and whose cost nobody has stated.",
    ),
    Rule(
        Fact.FAILURE,
        OPERATION_FAILURES_TOTAL,
        _COUNTER,
        (("kind", "kind"), _ERROR),
        "Operations that failed, by the type of their error.",
    ),
    Rule(Fact.SESSION, ACTIVE_SESSIONS, _GAUGE, (), "Sessions that have begun and not ended."),
)
"""All rules. The GenAI names are those of a Prometheus page: their dots are underscores, and seconds are named."""
