"""Operation: something with a beginning and an end that the agent does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sonde.context import EMPTY_SCOPE, Scope, ThreadMark, current_scope, here, set_scope
from sonde.events import Event
from sonde.instrument.decorator import Layout, decorate
from sonde.instrument.fault import report_fault, warn_once
from sonde.instrument.identifier import new_name, new_span_id, new_trace_id
from sonde.instrument.kind import MODEL, PLAN, SESSION, SHELL, TASK, TOOL, Kind
from sonde.instrument.outcome import SUCCESS, Outcome, outcome_of, outcome_of_exit, outcome_of_report
from sonde.instrument.shell_output import bound_output
from sonde.instrument.snapshot import snapshot, snapshot_values

if TYPE_CHECKING:
    from sonde.instrument.desk import Desk

F = TypeVar("F", bound=Callable[..., Any])

_MODEL_KEYS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_usd",
    "finish_reason",
    "request_id",
)


# States of a handle. Between entering and open nothing was published, so there is nothing to end.
_IDLE, _ENTERING, _OPEN = range(3)


class Operation:
    """A handle on something that the agent does: use it in ``with``, in ``async with``, or as a decorator.

    Entering publishes ``<noun>.started``, leaving publishes one of ``.completed``, ``.failed`` and ``.cancelled`` with
    ``duration_s`` and all that was ``set``. What happens inside, in tasks that are created inside too, has it as its
    parent. Exceptions pass through. Nothing blocks, and nothing here raises because of telemetry.

    A handle may be entered again after it was left, which opens a new span, and even while it is open: then ``as``
    gives a handle of its own to each further entry, and ``with`` closes the right one. As a decorator it opens a new
    operation for each call. ``set`` and ``fail`` may be called from any thread while it is open.

    A ``with`` block that spans a ``yield`` in a generator leaks its scope to the generator's consumer until the block
    is left; decorate the generator instead.

    >>> from sonde.instrument import Operations
    >>> events = []
    >>> rec = Operations(events.append, session_id="s-1")
    >>> with rec.tool("read_file", path="a.py") as op:
    ...     op.set(result="print(1)")
    >>> [event.type for event in events], events[0].span_id == events[1].span_id == op.span_id
    (['tool.started', 'tool.completed'], True)
    """

    __slots__ = (
        "_again",
        "_began_s",
        "_changes",
        "_data",
        "_desk",
        "_echo",
        "_found",
        "_kind",
        "_mark",
        "_names",
        "_outcome",
        "_parent_id",
        "_scope",
        "_state",
        "_token",
    )

    def __init__(self, desk: Desk, kind: Kind, echo: dict[str, Any], data: dict[str, Any], names: Scope) -> None:
        """Made by :class:`~sonde.instrument.Operations`.

        ``echo`` is said at both ends, ``data`` at the beginning; ``names`` has the ids that differ from the scope's.
        """
        self._desk = desk
        self._kind = kind
        self._echo = echo
        self._data = data
        self._names = names
        self._state = _IDLE
        self._mark: ThreadMark | None = None  # with a token beside it: both are for profilers
        self._token: Token[Scope] | None
        self._scope = EMPTY_SCOPE
        self._again: list[Operation] = []
        self._changes: dict[str, Any]  # these are given at each beginning
        self._outcome: Outcome | None
        self._began_s: float
        self._found: Scope
        self._parent_id: str

    @property
    def span_id(self) -> str:
        """16 hex digits that all events of this operation share; empty before it is entered."""
        return self._scope.span_id

    @property
    def trace_id(self) -> str:
        """32 hex digits that all operations of one trace share; empty before it is entered."""
        return self._scope.trace_id

    @property
    def plan_id(self) -> str:
        """The plan that it belongs to; empty before it is entered, or outside any plan."""
        return self._scope.plan_id

    @property
    def task_id(self) -> str:
        """The task that it belongs to; empty before it is entered, or outside any task."""
        return self._scope.task_id

    def set(self, /, **data: Any) -> None:
        """Add to what the last event will say; before the operation is entered, to what the first event says.

        Values are snapshotted now (see :func:`~sonde.instrument.snapshot`); of a key that is set twice the last value
        stays. After the operation has ended this is lost, which is logged once.
        """
        snapshot_values(data)
        if self._state == _OPEN:
            self._changes.update(data)
        elif self._scope is EMPTY_SCOPE:
            self._data = self._desk.admit({**self._data, **data})
        else:
            noun = self._kind.noun
            warn_once("set after end", f"set({', '.join(data)}) on an ended {noun} operation is lost; set it inside")

    def fail(self, error: BaseException | str, /) -> None:
        """Let the operation end as failed although no exception leaves it; an exception that does takes precedence."""
        if self._state == _OPEN:
            self._outcome = outcome_of_report(error)
        else:
            noun = self._kind.noun
            warn_once("fail outside", f"fail() on a {noun} operation that is not open is lost; call it inside")

    def first_token(self) -> None:
        """Note that the model's first token arrived now, as ``ttft_s``; only the first call counts.

        Decorated generators do it by themselves with the first item that they yield.
        """
        if self._state == _OPEN and "ttft_s" not in self._changes:
            self._changes["ttft_s"] = self._desk.monotonic_s() - self._began_s

    def __call__(self, function: F, /) -> F:
        """Decorate a function, coroutine function, generator function, async generator function or method."""
        try:
            return cast("F", decorate(function, self))
        except Exception:  # noqa: BLE001 - what looks into a function may meet the agent's own __getattr__
            report_fault("decorate a function")
            return function

    def __enter__(self) -> Operation:
        # No call lies between the test and the assignment, so no thread can come in between them.
        if self._state != _IDLE:
            again = self._fresh()
            self._again.append(again)
            return again.__enter__()
        self._state = _ENTERING
        found = current_scope()
        try:
            self._token = set_scope(self._begin(found))
            self._mark = here.mark
        except BaseException as error:  # a signal handler's: then __exit__ will not be called
            set_scope(found)
            self._end(error)
            raise
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        leaving = self
        try:
            if self._again:
                leaving = self._innermost()
            leaving._leave(error)
        except BaseException as interrupt:  # a signal handler's, in the middle of this: leaving twice does no harm
            leaving._leave(interrupt)
            raise

    async def __aenter__(self) -> Operation:
        return self.__enter__()

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.__exit__(error_type, error, traceback)

    # What decorators use. None of these raises, except what a signal handler raises.

    def _leave(self, error: BaseException | None) -> None:
        if current_scope() is not EMPTY_SCOPE:  # it is where another thread closes this: nothing to put back there
            set_scope(self._found)
        self._end(error)

    def _innermost(self) -> Operation:
        """Which of the entries of this handle is being left: the one whose scope is in force here, else the last."""
        span_id = current_scope().span_id
        if self._state == _OPEN and span_id == self._scope.span_id:
            return self
        again = next((one for one in self._again if one.span_id == span_id), self._again[-1])
        self._again.remove(again)
        return again

    def _fresh(self) -> Operation:
        return Operation(self._desk, self._kind, self._echo, self._data, self._names)

    def _for_call(self, layout: Layout, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """A new operation for one call of a decorated function; of tools the arguments are kept."""
        if self._kind is not TOOL:
            return self._fresh()
        try:
            given = snapshot_values({**self._data.get("args", {}), **layout.arguments(args, kwargs)})
            data = self._desk.admit({**self._data, "args": given}) if given else self._data
            return Operation(self._desk, self._kind, self._echo, data, self._names)
        except Exception:  # noqa: BLE001 - telemetry may not raise into the agent
            report_fault("record the arguments of a call")
            return self._fresh()

    def _keep_result(self, result: Any) -> None:
        """What a decorated function returned: of tools as ``result``, of models the known keys of a mapping."""
        try:
            if self._kind is TOOL:
                self._changes["result"] = snapshot(result)
            elif self._kind is MODEL and isinstance(result, Mapping):
                for key in _MODEL_KEYS:
                    if key in result:
                        self._changes.setdefault(key, snapshot(result[key]))
        except Exception:  # noqa: BLE001 - the agent's own mapping
            report_fault("read the result of a call")

    def _first_item(self) -> None:
        """A decorated generator is about to yield its first item."""
        if self._kind is MODEL:
            self.first_token()

    def _begin(self, found: Scope) -> Scope:
        """Publish the first event; returns the scope of what happens inside."""
        self._found = found
        self._changes = {}
        self._outcome = None
        desk, kind, names = self._desk, self._kind, self._names
        parent = found if found.span_id or found.trace_id else desk.root
        self._parent_id = parent.span_id
        try:
            plan_id, task_id = names.plan_id or found.plan_id, names.task_id or found.task_id
            if kind is PLAN and not names.plan_id:
                plan_id = new_name("plan")
            elif kind is TASK and not names.task_id:
                task_id = new_name("task")
            self._scope = scope = Scope(
                names.session_id or found.session_id or desk.session_id,
                plan_id,
                task_id,
                parent.trace_id or new_trace_id(),
                new_span_id(),
            )
            desk.open[scope.span_id] = self
            self._began_s = desk.monotonic_s()
            event = self._event(kind.started, self._data)
            self._state = _OPEN  # from here on it has an end, even if a signal handler raises inside of publish
            desk.publish(event)
        except Exception:  # noqa: BLE001 - telemetry may not raise into the agent
            report_fault(f"start a {kind.noun} operation")
            desk.open.pop(self._scope.span_id, None)
            self._state = _IDLE
            return found
        return scope

    def _end(self, error: BaseException | None) -> None:
        """Publish the last event. At most once for each beginning."""
        desk, kind = self._desk, self._kind
        desk.open.pop(self._scope.span_id, None)
        self._mark = self._token = None  # a handle that is kept keeps no context
        if self._state != _OPEN:
            self._state = _IDLE
            return
        outcome = SUCCESS
        try:
            changes = self._changes
            duration_s = desk.monotonic_s() - self._began_s
            if error is not None:
                outcome = outcome_of(error)
            if outcome is SUCCESS:
                outcome = SUCCESS if self._outcome is None else self._outcome
                if kind is SHELL:
                    bound_output(changes)
                    if outcome is SUCCESS:
                        outcome = outcome_of_exit(changes.get("exit_code"))
            if kind is MODEL and changes.get("cost_usd") is not None:
                changes.setdefault("cost_source", "reported")
            data = {**self._echo, **changes, "duration_s": duration_s, **outcome.facts}
            if kind is SESSION:
                data["status"] = outcome.status
            if not desk.complete:
                data = desk.admit(data)
            event = self._event(kind.ends[outcome.status], data)
            self._state = _IDLE
            desk.publish(event)
        except Exception:  # noqa: BLE001 - telemetry may not raise into the agent
            report_fault(f"end a {kind.noun} operation")
            self._end_in_brief(outcome)
        except BaseException as interrupt:  # a signal handler's, in the middle of this
            self._end_in_brief(outcome_of(interrupt))
            raise

    def _end_in_brief(self, outcome: Outcome) -> None:
        """Publish an end without what was set, if none was tried yet: an operation without one would seem to run on."""
        if self._state == _OPEN:
            self._state = _IDLE
            try:
                data = {**self._echo, **outcome.facts}
                if self._kind is SESSION:
                    data["status"] = outcome.status
                self._desk.publish(self._event(self._kind.ends[outcome.status], self._desk.admit(data)))
            except Exception:  # noqa: BLE001 - telemetry may not raise into the agent
                report_fault(f"end a {self._kind.noun} operation in brief")

    def _event(self, event_type: str, data: dict[str, Any]) -> Event:
        scope = self._scope
        return Event(
            event_type,
            self._desk.time_ns(),
            scope.session_id,
            scope.plan_id,
            scope.task_id,
            data,
            scope.trace_id,
            scope.span_id,
            self._parent_id,
        )
