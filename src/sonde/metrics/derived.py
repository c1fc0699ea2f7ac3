"""DerivedMetrics: emit once, and have the metrics, too."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from sonde.events import Event, EventType, PublishedEvent
from sonde.metrics.call import Calls, ModelCall, ToolCall, text_of
from sonde.metrics.registry import Registry
from sonde.metrics.rules import Fact
from sonde.metrics.sinks import Sinks
from sonde.vocabulary import Status, cost_of, duration_of, is_number, name_of, role_of, tokens_of

UNKNOWN = "unknown"
"""The label of a tool or model that no event names."""

OTHER_ERROR = "_OTHER"
"""The label of an error whose type is not stated, or is no name: the GenAI conventions' word for it."""

OTHER_OPERATION = "chat"
"""What a call of a model is taken for unless its event names another ``operation`` of the GenAI conventions."""

_OPERATIONS = frozenset({"chat", "embeddings", "generate_content", "retrieval", "text_completion"})
_INPUT = ("input_tokens", "cache_read_tokens", "cache_write_tokens")
_OUTPUT = ("output_tokens", "reasoning_tokens")
_ERROR_NAME = re.compile(r"[A-Za-z_][\w.:/-]{0,99}", re.ASCII)
_MAX_LABEL = 200
_MAX_OPEN_SESSIONS = 8_192
_MAX_TYPES = 4_096
_GATHERED = 4_096
_GOOD_ENDS = frozenset({Status.COMPLETED, Status.CANCELLED})


class OpenSession(NamedTuple):
    """A session that has begun and not ended."""

    session_id: str
    span_id: str


class DerivedMetrics:
    """Makes metrics of committed events, by the table :data:`~sonde.metrics.rules.RULES`, in a registry.

    The figures depend on the events and their order alone: the same events, read back from a store, give the same
    metrics. What one call says twice counts once: two ends (``model.stream_end`` and ``model.completed`` of a span) are
    one call; of increments (``tokens.updated``, ``cost.updated``) and the end of the same span, what is more counts.
    For that the last 8,192 open calls are remembered, and the last 2,048 that have ended; 350 to 600 bytes each.

    A call counts when it ends. One that states no duration took what lies between its two events, if they have a span.
    For one thread at a time; the registry may be read by any. Costs some 1 µs for an event that a rule is for, a tenth
    of that for another. Never raises for what an event holds.

    >>> metrics = DerivedMetrics(Registry())
    >>> metrics.add(Event("tool.completed", data={"tool": "search", "duration_ms": 250}))
    >>> metrics.add(Event("agent.tool.error", data={"tool": "search", "error": "timeout"}))
    >>> for counter in metrics.registry.counters():
    ...     print(counter)
    operation_failures_total{error_type=_OTHER,kind=tool} 1
    tool_calls_total{tool_name=search} 2
    >>> metrics.registry.histogram("tool_duration_seconds", {"tool_name": "search"}).sum
    0.25
    """

    def __init__(self, registry: Registry) -> None:
        """Make the metrics in ``registry``, each when the first event needs it."""
        self.registry = registry
        self._tools = Calls(ToolCall)
        self._models = Calls(ModelCall)
        self._others = Calls(ToolCall)  # operations of other kinds that failed, by span and kind
        self._takers: dict[str, Callable[[Event], None] | None] = {}
        self._sessions: dict[OpenSession, str] = {}
        self._sinks = {fact: Sinks(registry, fact) for fact in Fact}
        self._tool_calls = self._sinks[Fact.TOOL_CALL]
        self._tool_durations = self._sinks[Fact.TOOL_DURATION]
        self._plain_types: set[str] = set()
        """Types of events that end a call of a tool, and well."""
        self._plain_tools: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
        """The counters and histograms of tools, by their label."""

    def add_all(self, events: Iterable[Event]) -> None:
        """Take events, in the order of their commit."""
        takers, plain_types = self._takers, self._plain_types
        # Calls of tools that one event tells all of, without a span, come in masses: gathered by tool, they cost a
        # third. What comes between them is counted in its place, so that the sums of floats are the same each time.
        gathered: dict[str, list[float]] = {}
        left = _GATHERED
        for event in events:
            if event.type in plain_types and not event.span_id:
                data = event.data
                tool, duration_s = data.get("tool"), data.get("duration_s")
                if duration_s is None:
                    duration_s = data.get("duration_ms")
                    if duration_s.__class__ is float:
                        duration_s /= 1000
                if tool.__class__ is str and duration_s.__class__ is float and 0.0 <= duration_s < math.inf:
                    try:
                        gathered[tool].append(duration_s)
                        left -= 1
                    except KeyError:
                        if tool not in self._plain_tools:
                            self._count_gathered(gathered)
                            self._end_tool(False, event)
                        else:
                            gathered[tool] = [duration_s]
                    if not left:
                        self._count_gathered(gathered)
                        left = _GATHERED
                    continue
            try:
                take = takers[event.type]
            except KeyError:
                take = self._taker(event.type)
            if take is not None:
                if gathered:
                    self._count_gathered(gathered)
                take(event)
        self._count_gathered(gathered)

    def _count_gathered(self, gathered: dict[str, list[float]]) -> None:
        for tool, durations in gathered.items():
            counters, histograms = self._plain_tools[tool]
            for counter in counters:
                counter.inc(len(durations))
            for histogram in histograms:
                histogram.observe_all(durations)
        gathered.clear()

    def _remember_plain(self, tool: str) -> None:
        """Gather calls of a tool from now on, if its series are at hand: those past the limit of label sets are not."""
        counters, histograms = self._tool_calls.series.get((tool,)), self._tool_durations.series.get((tool, ""))
        if counters is not None and histograms is not None:
            self._plain_tools[tool] = (counters, histograms)

    def add(self, event: Event) -> None:
        """Take the next event."""
        self.add_all((event,))

    def _taker(self, event_type: str) -> Callable[[Event], None] | None:
        """What takes events of a type; ``None`` for one that no rule is for."""
        role = role_of(event_type)
        take: Callable[[Event], None] | None = None
        if role is None:
            take = self._add_increment if event_type in _INCREMENTS else None
        else:
            kind, status = role
            noun = kind.rpartition(".")[2]
            if noun == "tool":
                take = self._start_tool if status is None else partial(self._end_tool, status is Status.FAILED)
            elif noun == "model":
                take = self._start_model if status is None else partial(self._end_model, status)
            elif kind == "session":
                take = self._start_session if status is None else partial(self._end_session, status)
            elif status is Status.FAILED:
                take = partial(self._fail, kind)
        if len(self._takers) < _MAX_TYPES:
            self._takers[event_type] = take
            if role is not None and role.kind.rpartition(".")[2] == "tool" and role.status in _GOOD_ENDS:
                self._plain_types.add(event_type)
        return take

    @property
    def open_sessions(self) -> dict[OpenSession, str]:
        """The sessions that ``active_sessions`` counts, each with the writer that began it."""
        return dict(self._sessions)

    def close_session(self, session: OpenSession) -> None:
        """Count a session no more, although no event ends it: its process died."""
        if self._sessions.pop(session, None) is not None:
            self._count(Fact.SESSION, (), -1)

    def _start_tool(self, event: Event) -> None:
        if event.span_id:
            call = self._tools[event.session_id, event.span_id]
            call.name, call.started_ns = name_of("tool", event.data)[:_MAX_LABEL] or call.name, event.time_ns

    def _end_tool(self, is_failure: bool, event: Event) -> None:  # noqa: FBT001 - partial() binds it by place
        data = event.data
        tool = data.get("tool")
        if tool.__class__ is not str or not tool:  # by far the most frequent event, and name_of costs more
            tool = name_of("tool", data)
        call = None
        if event.span_id:
            call = self._tools.end((event.session_id, event.span_id))
            tool = tool or call.name
        tool = tool[:_MAX_LABEL] or UNKNOWN
        if call is None or not call.is_counted:
            for count in self._tool_calls[tool,]:
                count(1)
        if call is None or not call.is_timed:
            duration_s = data.get("duration_s")
            if duration_s.__class__ is not float:
                duration_s = duration_of(data)
                if duration_s is None and call is not None:
                    duration_s = _between(call, event)
            if duration_s is not None:
                for observe in self._tool_durations[tool, _error_of(event) if is_failure else ""]:
                    observe(duration_s)
                if call is not None:
                    call.is_timed = True
                elif not is_failure and tool not in self._plain_tools:
                    self._remember_plain(tool)
        if call is not None:
            call.is_counted = True
        if is_failure:
            self._count_failure(event, "tool", call or ToolCall())

    def _start_model(self, event: Event) -> None:
        if event.span_id:
            call = self._models[event.session_id, event.span_id]
            _describe(call, event.data)
            call.started_ns = event.time_ns

    def _end_model(self, status: Status, event: Event) -> None:
        data = event.data
        call = self._models.end((event.session_id, event.span_id))
        _describe(call, data)
        model = call.name[:_MAX_LABEL] or UNKNOWN
        is_failure = status is Status.FAILED
        terms = (call.operation, call.provider, model, _error_of(event) if is_failure else "")
        if not call.is_counted:
            call.is_counted = True
            self._count(Fact.MODEL_CALL, (model,), 1)
        if not call.is_timed:
            duration_s = duration_of(data)
            if duration_s is None:
                duration_s = _between(call, event)
            if duration_s is not None:
                call.is_timed = True
                self._count(Fact.MODEL_DURATION, terms, duration_s)
        first_token_s = data.get("ttft_s")
        if first_token_s is not None and not call.is_first_token_timed and is_number(first_token_s):
            call.is_first_token_timed = True
            self._count(Fact.MODEL_FIRST_TOKEN, terms, first_token_s)
        self._count_tokens(model, call.state_tokens(tokens_of(data)))
        self._observe_usage(model, call)
        self._count_cost(model, call.state_cost(cost_of(data)))
        call.completed = call.completed or status is Status.COMPLETED
        self._settle_cost(model, call)
        if is_failure:
            self._count_failure(event, "model", call)

    def _add_increment(self, event: Event) -> None:
        # What is emitted inside an operation has no span of its own, and the operation as its parent.
        call = self._models[event.session_id, event.span_id or event.parent_id]
        model = (text_of(event.data, "model") or call.name)[:_MAX_LABEL] or UNKNOWN
        if event.type == EventType.COST_UPDATED.value:
            self._count_cost(model, call.add_cost(cost_of(event.data)))
        else:
            self._count_tokens(model, call.add_tokens(tokens_of(event.data)))
        if call.is_counted:
            self._settle_cost(model, call)

    def _start_session(self, event: Event) -> None:
        session = OpenSession(event.session_id, event.span_id)
        if session not in self._sessions:
            if len(self._sessions) >= _MAX_OPEN_SESSIONS:
                self.close_session(next(iter(self._sessions)))
            self._sessions[session] = event.writer_id if isinstance(event, PublishedEvent) else ""
            self._count(Fact.SESSION, (), 1)

    def _end_session(self, status: Status, event: Event) -> None:
        self.close_session(OpenSession(event.session_id, event.span_id))
        if status is Status.FAILED or event.data.get("status") == Status.FAILED.value:
            self._fail("session", event)

    def _fail(self, kind: str, event: Event) -> None:
        call = self._others.end((event.session_id, f"{event.span_id}{kind}" if event.span_id else ""))
        self._count_failure(event, kind, call)

    def _count_failure(self, event: Event, kind: str, call: ToolCall) -> None:
        if not call.failed:
            call.failed = True
            self._count(Fact.FAILURE, (kind[:_MAX_LABEL], _error_of(event)), 1)

    def _count(self, fact: Fact, terms: tuple[str, ...], value: float) -> None:
        for count in self._sinks[fact][terms]:
            count(value)

    def _count_tokens(self, model: str, excess: dict[str, int]) -> None:
        for kind, number in excess.items():
            self._count(Fact.MODEL_TOKENS, (model, kind.removesuffix("_tokens")), number)

    def _observe_usage(self, model: str, call: ModelCall) -> None:
        """Once a call, at the first end at which its tokens are known. A histogram takes nothing back."""
        tokens = call.tokens
        if not tokens or call.is_usage_observed:
            return
        call.is_usage_observed = True
        for token_type, keys in (("input", _INPUT), ("output", _OUTPUT)):
            stated = [tokens[key] for key in keys if key in tokens]
            if stated:
                self._count(Fact.MODEL_USAGE, (call.operation, call.provider, model, token_type), sum(stated))

    def _count_cost(self, model: str, excess: tuple[float, str] | None) -> None:
        if excess is not None:
            usd, source = excess
            self._count(Fact.MODEL_COST, (model, source), usd)

    def _settle_cost(self, model: str, call: ModelCall) -> None:
        """Whether an ended call's cost is unknown. One that failed without using anything has none to be known."""
        is_missed = call.cost_usd is None and bool(call.completed or call.tokens)
        if is_missed and not call.is_cost_missed:
            call.missed_name = model
            self._count(Fact.MODEL_UNKNOWN_COST, (model,), 1)
        elif call.is_cost_missed and not is_missed:
            self._count(Fact.MODEL_UNKNOWN_COST, (call.missed_name,), -1)
        call.is_cost_missed = is_missed


_INCREMENTS = frozenset({EventType.TOKEN_USAGE_UPDATED.value, EventType.COST_UPDATED.value})


def _error_of(event: Event) -> str:
    name = event.data.get("error_type")
    return name if isinstance(name, str) and _ERROR_NAME.fullmatch(name) else OTHER_ERROR


def _between(call: ToolCall, event: Event) -> float | None:
    """The seconds between a call's first event and this one; ``None`` if that was not seen."""
    return max(0, event.time_ns - call.started_ns) / 1e9 if call.started_ns else None


def _describe(call: ModelCall, data: Mapping[str, Any]) -> None:
    """Note what an event says about a call; what it leaves open stays as it was."""
    call.name = (text_of(data, "model") or call.name or name_of("model", data))[:_MAX_LABEL]
    call.provider = text_of(data, "provider")[:_MAX_LABEL] or call.provider
    operation = text_of(data, "operation")
    call.operation = operation if operation in _OPERATIONS else call.operation or OTHER_OPERATION
