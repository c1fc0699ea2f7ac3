"""Operations: sessions, plans, tasks, calls of tools and models, shell commands; context managers and decorators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.context import EMPTY_SCOPE, Scope, current_scope
from sonde.events import Event
from sonde.instrument.capture import ContentCapture
from sonde.instrument.decorator import name_of
from sonde.instrument.desk import Desk
from sonde.instrument.disabled_operation import DISABLED_OPERATION
from sonde.instrument.kind import MODEL, PLAN, SESSION, SHELL, TASK, TOOL, Kind
from sonde.instrument.operation import Operation
from sonde.instrument.process import process_facts
from sonde.instrument.snapshot import snapshot, snapshot_values

F = TypeVar("F", bound=Callable[..., Any])

_CAPTURE_ALL = ContentCapture()


class Operations:
    """The six sorts of operation; each method gives a handle (:class:`Operation`) for ``with``, ``async with``, ``@``.

    Bare, as in ``@rec.tool``, it decorates, and the function's name names the operation. Decorated functions of all
    sorts keep their signature. A decorated *tool* records its arguments as ``args`` (without ``self`` and ``cls``, and
    without defaults that were not given) and what it returns as ``result``; a decorated *model* takes tokens, cost,
    finish reason and request id from what it returns, if that is a mapping with such keys; other sorts record neither.
    A decorated generator begins with its first step (never iterated, it records nothing), swaps the scope at each step,
    and ends when it is exhausted, raises, or is closed or thrown away, which cancels it; its items are not recorded.

    Arguments are snapshotted at the call (see :func:`~sonde.instrument.snapshot`). Thread-safe; never blocks; nothing
    is raised into the agent but what its own code raises.

    >>> events = []
    >>> rec = Operations(events.append, session_id="s-1")
    >>> @rec.tool
    ... def add(a, b):
    ...     return a + b
    >>> with rec.task("Sum up", task_id="t-1"):
    ...     add(1, b=2)
    3
    >>> [(event.type, event.task_id) for event in events[:2]]
    [('task.started', 't-1'), ('tool.started', 't-1')]
    >>> events[1].data, events[2].data["result"]
    ({'tool': 'add', 'args': {'a': 1, 'b': 2}}, 3)
    """

    def __init__(
        self,
        publish: Callable[[Event], object],
        *,
        session_id: str,
        capture: ContentCapture = _CAPTURE_ALL,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Hand events to ``publish``; ``session_id`` is for what happens where the scope names no session."""
        self._desk = Desk(publish, session_id=session_id, capture=capture, clock=clock)

    def current(self) -> Operation:
        """The innermost operation that is open here: for the body of a decorated function.

        Outside any, a handle that accepts everything and records nothing.

        >>> events = []
        >>> rec = Operations(events.append, session_id="s-1")
        >>> @rec.model("claude-x")
        ... def ask():
        ...     rec.current().set(input_tokens=12)
        >>> ask()
        >>> events[-1].data["input_tokens"]
        12
        """
        return self._desk.open.get(current_scope().span_id, DISABLED_OPERATION)

    def adopt(self, operation: Operation, /) -> None:
        """Make an open operation the parent of what begins outside any, in every thread: a recorder's own session."""
        self._desk.root = Scope(trace_id=operation.trace_id, span_id=operation.span_id)

    @overload
    def session(self, function: F, /) -> F: ...
    @overload
    def session(self, /, *, session_id: str = "", tags: Iterable[str] | None = None, **data: Any) -> Operation: ...
    def session(
        self,
        function: Any = None,
        /,
        *,
        session_id: str = "",
        tags: Iterable[str] | None = None,
        **data: Any,
    ) -> Any:
        """A whole run: ``session.started``, then ``session.ended`` with its ``status``. A recorder opens one by itself.

        ``session_id`` puts another session in force inside; plan and task then stay outside.
        """
        facts = process_facts()
        if tags is not None:
            facts["tags"] = snapshot(tags)
        operation = self._open(SESSION, {}, {**facts, **snapshot_values(data)}, Scope(session_id))
        return operation if function is None else operation(function)

    @overload
    def plan(self, function: F, /) -> F: ...
    @overload
    def plan(self, title: str, /, *, plan_id: str = "", **data: Any) -> Operation: ...
    def plan(self, title: Any, /, *, plan_id: str = "", **data: Any) -> Any:
        """A plan, as long as it is worked on. Inside, events carry ``plan_id``, by default a new one for each entry."""
        return self._named(PLAN, title, snapshot_values(data), Scope(plan_id=plan_id))

    @overload
    def task(self, function: F, /) -> F: ...
    @overload
    def task(self, title: str, /, *, plan_id: str = "", task_id: str = "", **data: Any) -> Operation: ...
    def task(self, title: Any, /, *, plan_id: str = "", task_id: str = "", **data: Any) -> Any:
        """One task of a plan. Inside, events carry ``task_id``, by default a new one for each entry."""
        return self._named(TASK, title, snapshot_values(data), Scope(plan_id=plan_id, task_id=task_id))

    @overload
    def tool(self, function: F, /) -> F: ...
    @overload
    def tool(self, name: str, /, **args: Any) -> Operation: ...
    def tool(self, name: Any, /, **args: Any) -> Any:
        """A tool call. All keywords are arguments of the tool; set ``result`` on the handle."""
        return self._named(TOOL, name, {"args": snapshot_values(args)} if args else {}, EMPTY_SCOPE)

    @overload
    def model(self, function: F, /) -> F: ...
    @overload
    def model(self, model: str, /, *, provider: str | None = None, **request: Any) -> Operation: ...
    def model(self, model: Any, /, *, provider: str | None = None, **request: Any) -> Any:
        """A call of a language model. The keywords, such as ``prompt`` or ``temperature``, are said at its beginning.

        Set on the handle ``input_tokens``, ``output_tokens``, ``cache_read_tokens``, ``cache_write_tokens`` and
        ``reasoning_tokens`` (disjoint parts: each token counts in one of them), ``cost_usd`` (its ``cost_source`` is
        then ``reported``), ``finish_reason``, ``request_id``, ``answer``; call ``first_token()`` when it arrives.
        """
        data = snapshot_values(request)
        if provider is not None:
            return self._named(MODEL, model, data, EMPTY_SCOPE, {"provider": provider})
        return self._named(MODEL, model, data, EMPTY_SCOPE)

    @overload
    def shell(self, function: F, /) -> F: ...
    @overload
    def shell(self, command: str | list[str] | tuple[str, ...], /, **data: Any) -> Operation: ...
    def shell(self, command: Any, /, **data: Any) -> Any:
        """A shell command; set ``exit_code`` (negative: the signal that killed it), ``stdout`` and ``stderr``.

        Any exit code but 0 and ``None`` makes it ``shell.failed``.

        Output is kept to 64 k characters each, head and tail; ``stdout_bytes`` then says how much there was.
        """
        return self._named(SHELL, command, snapshot_values(data), EMPTY_SCOPE)

    def _named(
        self, kind: Kind, subject: Any, data: dict[str, Any], names: Scope, more: Mapping[str, Any] | None = None
    ) -> Any:
        """A handle, or the decorated function if the subject is one."""
        if type(subject) is not str and (callable(subject) or issubclass(type(subject), staticmethod | classmethod)):
            return self._open(kind, {kind.subject: name_of(subject), **(more or {})}, data, names)(subject)
        echo = {kind.subject: snapshot(subject)}
        if more:
            echo.update(more)
        return self._open(kind, echo, data, names)

    def _open(self, kind: Kind, echo: dict[str, Any], data: dict[str, Any], names: Scope) -> Operation:
        return Operation(self._desk, kind, echo, self._desk.admit({**data, **echo}), names)
