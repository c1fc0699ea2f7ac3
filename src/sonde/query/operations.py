"""OperationTree: what happened inside what, rebuilt from events.

A start and an end are one operation if they share a span; where the events have none (the Go original's), they are
paired by stream, ids, kind and name, the oldest open one first. One pass over the events, one over the operations, no
recursion: a session with 100,000 events takes about a second, a chain of 10,000 nested operations overflows nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from sonde.events import Event, EventType, PublishedEvent, RecordedEvent
from sonde.query.operation import Operation
from sonde.query.pulse import Pulse
from sonde.vocabulary import Cost, Role, Status, add_tokens, cost_of, duration_of, name_of, role_of, tokens_of

_INCREMENTS = frozenset({EventType.TOKEN_USAGE_UPDATED.value, EventType.COST_UPDATED.value})
_Place = tuple[str, str, str, str]  # stream, session, plan, task
_MODEL = "model"
_SESSION = "session"


class OperationTree:
    """All operations of some events: ``operations`` in order of their first event, ``roots`` those without a parent.

    Built by :meth:`from_events`. An operation's parent is the one that its ``parent_id`` names. Where it names none, it
    is the task, else the plan, else the session that its event belongs to. Where it names one that is not there,
    ``parent_missing`` is set, and it hangs under its session. Ends without a start are operations, too.

    >>> tree = OperationTree.from_events([
    ...     Event("tool.started", 10**9, "s", span_id="a" * 16, data={"tool": "search"}),
    ...     Event("tool.failed", 3 * 10**9, "s", span_id="a" * 16, data={"error": "timeout"}),
    ... ])
    >>> [(op.kind, op.name, op.status.value, op.duration_s, op.error) for op in tree.operations]
    [('tool', 'search', 'failed', 2.0, 'timeout')]
    """

    def __init__(self, operations: list[Operation], *, events: int, spans: dict[tuple[str, str], Operation]) -> None:
        """Use :meth:`from_events`."""
        self.operations = operations
        self.roots = [operation for operation in operations if operation.parent is None]
        self.events = events
        self._spans = spans

    @classmethod
    def from_events(cls, events: Iterable[Event], *, pulse: Pulse | None = None) -> OperationTree:
        """Build the tree from events in the order of their stream (streams may mix).

        ``pulse`` tells what has not ended apart: running, interrupted or stale; by default nobody knows the writers.
        What is open although the same writer ended its session in good order is interrupted.
        """
        builder = OperationTreeBuilder()
        for event in events:
            builder.add(event)
        return builder.finish(pulse or Pulse())

    def find(self, span_id: str, *, stream_id: str = "") -> Operation | None:
        """The operation of a span; a stream narrows it down where several are in the tree."""
        if stream_id:
            return self._spans.get((stream_id, span_id))
        return next((operation for (_, span), operation in self._spans.items() if span == span_id), None)

    def walk(self) -> Iterator[tuple[int, Operation]]:
        """All operations with their depth, parents before children, siblings in order of start."""
        for root in self.roots:
            yield from root.walk()


class OperationTreeBuilder:
    """Takes events one by one and gives the tree at the end. For one thread; use it once."""

    def __init__(self) -> None:
        self._events = 0
        self._operations: list[Operation] = []
        self._spans: dict[tuple[str, str], Operation] = {}  # the first operation of each span
        self._by_span: dict[tuple[str, str, str], Operation] = {}  # stream, span, kind
        self._open: dict[tuple[_Place, str, str], deque[Operation]] = {}  # without spans: place, kind, name
        self._open_unnamed: dict[tuple[_Place, str], deque[Operation]] = {}
        self._tasks: dict[_Place, Operation] = {}
        self._plans: dict[_Place, Operation] = {}
        self._sessions: dict[str, Operation] = {}  # the first of each stream
        self._last_model: dict[tuple[_Place, str], Operation] = {}
        self._last_ns: dict[str, int] = {}
        self._increments: list[tuple[Operation, Event]] = []

    def add(self, event: Event) -> None:
        """Take the next event."""
        self._events += 1
        stream_id = event.stream_id if isinstance(event, RecordedEvent) else event.session_id
        if event.time_ns > self._last_ns.get(stream_id, 0):
            self._last_ns[stream_id] = event.time_ns
        role = role_of(event.type)
        if role is not None:
            place = (stream_id, event.session_id, event.plan_id, event.task_id)
            if role.status is None:
                self._start(event, role, place)
            else:
                self._end(event, role, place, role.status)
            return
        # What is emitted inside an operation has no span of its own, and the operation as its parent.
        span_id = event.span_id or event.parent_id
        operation = self._spans.get((stream_id, span_id)) if span_id else None
        if operation is not None:
            operation.events += 1
        if event.type in _INCREMENTS:
            if operation is None and not span_id:
                place = (stream_id, event.session_id, event.plan_id, event.task_id)
                operation = self._last_model.get((place, name_of(_MODEL, event.data)))
            if operation is not None:
                self._increments.append((operation, event))

    def _new(self, event: Event, role: Role, place: _Place) -> Operation:
        name = event.session_id if role.kind == _SESSION else name_of(role.kind, event.data)
        operation = Operation(role.kind, name, stream_id=place[0], span_id=event.span_id, parent_id=event.parent_id)
        operation.session_id, operation.plan_id, operation.task_id = place[1:]
        operation.trace_id = event.trace_id
        if isinstance(event, PublishedEvent):
            operation.writer_id = event.writer_id
        if isinstance(event, RecordedEvent):
            operation.start_version = event.version
        operation.events = 1
        self._operations.append(operation)
        if not event.parent_id:
            self._place(operation, place)
        if event.span_id:
            self._spans.setdefault((place[0], event.span_id), operation)
            self._by_span[place[0], event.span_id, role.kind] = operation
        if role.kind == "task":
            self._tasks[place] = operation
        elif role.kind == "plan":
            self._plans[(*place[:3], "")] = operation
        elif role.kind == _SESSION:
            self._sessions.setdefault(place[0], operation)
        return operation

    def _place(self, operation: Operation, place: _Place) -> None:
        """Give an operation without a ``parent_id`` the innermost of task, plan and session that encloses it."""
        kind = operation.kind
        parent = None
        if kind not in {"task", "plan", _SESSION} and place[3]:
            parent = self._tasks.get(place)
        if parent is None and kind not in {"plan", _SESSION} and place[2]:
            parent = self._plans.get((*place[:3], ""))
        operation.parent = parent  # the session comes last, when all of them are known

    def _start(self, event: Event, role: Role, place: _Place) -> None:
        operation = self._new(event, role, place)
        operation.start_ns = event.time_ns
        operation.start_data = event.data
        if not event.span_id:
            self._open.setdefault((place, role.kind, operation.name), deque()).append(operation)
            self._open_unnamed.setdefault((place, role.kind), deque()).append(operation)
        if role.kind == _MODEL:
            self._last_model[place, operation.name] = self._last_model[place, ""] = operation

    def _end(self, event: Event, role: Role, place: _Place, ended_as: Status) -> None:
        operation = self._take_open(event, role, place)
        if operation is None:
            operation = self._new(event, role, place)
        else:
            operation.events += 1
            operation.name = operation.name or name_of(role.kind, event.data)
        data = event.data
        operation.ended = True
        operation.end_ns = event.time_ns
        operation.end_data = {**operation.end_data, **data} if operation.end_data else data
        operation.status = _status(event, ended_as)
        stated_s = duration_of(data)
        if stated_s is not None:
            operation.duration_s = stated_s
        elif operation.start_ns and operation.duration_s is None:
            operation.duration_s = max(0, event.time_ns - operation.start_ns) / 1e9
        operation.error_type = _text(data.get("error_type")) or operation.error_type
        operation.error = _text(data.get("error")) or operation.error
        tokens = tokens_of(data)
        if tokens:
            operation.tokens = tokens
        cost = cost_of(data)
        if cost.usd is not None:
            operation.cost = cost

    def _take_open(self, event: Event, role: Role, place: _Place) -> Operation | None:
        """The operation that an end belongs to. A second end of a span belongs to the same operation."""
        if event.span_id:
            return self._by_span.get((place[0], event.span_id, role.kind))
        name = event.session_id if role.kind == _SESSION else name_of(role.kind, event.data)
        waiting = self._open.get((place, role.kind, name)) if name else self._open_unnamed.get((place, role.kind))
        # What the other queue has ended is still in this one; each is passed over once.
        while waiting:
            operation = waiting.popleft()
            if not operation.ended:
                return operation
        return None

    def finish(self, pulse: Pulse) -> OperationTree:
        """The tree of all events so far."""
        self._link()
        self._count_increments()
        # A writer that ended its own outermost session, and has none open, will end nothing any more.
        outermost = [one for one in self._operations if one.kind == _SESSION and one.parent is None and one.writer_id]
        finished = {(one.stream_id, one.writer_id) for one in outermost if one.ended}
        finished -= {(one.stream_id, one.writer_id) for one in outermost if not one.ended}
        for operation in self._operations:
            if operation.ended:
                continue
            if (operation.stream_id, operation.writer_id) in finished:
                operation.status = Status.INTERRUPTED
            else:
                operation.status = pulse.status(operation.writer_id, last_ns=self._last_ns.get(operation.stream_id, 0))
        return OperationTree(self._operations, events=self._events, spans=self._spans)

    def _link(self) -> None:
        """Find all parents, then give the children to them; cut what would be a circle."""
        for operation in self._operations:
            if operation.parent_id:
                parent = self._spans.get((operation.stream_id, operation.parent_id))
                operation.parent_missing = parent is None or parent is operation
                operation.parent = None if operation.parent_missing else parent
            if operation.parent is None and not (operation.kind == _SESSION and not operation.parent_id):
                session = self._sessions.get(operation.stream_id)
                operation.parent = None if session is operation else session
        self._cut_circles()
        for operation in self._operations:
            if operation.parent is not None:
                operation.parent.children.append(operation)

    def _cut_circles(self) -> None:
        """Follow each chain of parents once; where one comes back to itself (damaged data), it is cut."""
        checked: set[int] = set()
        for operation in self._operations:
            chain: set[int] = set()
            above: Operation | None = operation
            while above is not None and id(above) not in checked:
                checked.add(id(above))
                chain.add(id(above))
                if above.parent is not None and id(above.parent) in chain:
                    above.parent = None
                    above.parent_missing = True
                above = above.parent

    def _count_increments(self) -> None:
        """``tokens.updated`` and ``cost.updated`` count only where the operation's own end does not state the same."""
        stated_tokens = {id(operation) for operation, _ in self._increments if operation.tokens}
        stated_cost = {id(operation) for operation, _ in self._increments if operation.cost.usd is not None}
        for operation, event in self._increments:
            if event.type == EventType.COST_UPDATED.value:
                cost = cost_of(event.data)
                if cost.usd is not None and id(operation) not in stated_cost:
                    computed = "computed" in (cost.source, operation.cost.source)
                    usd = cost.usd + (operation.cost.usd or 0.0)
                    operation.cost = Cost(usd, "computed" if computed else "reported")
            elif id(operation) not in stated_tokens:
                add_tokens(operation.tokens, tokens_of(event.data))


def _status(event: Event, ended_as: Status) -> Status:
    if event.type == EventType.SESSION_ENDED.value:
        stated = event.data.get("status")
        if stated in {Status.FAILED.value, Status.CANCELLED.value}:
            return Status(stated)
    return ended_as


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
