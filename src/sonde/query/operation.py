"""Operation: something with a beginning and an end, put together again from its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sonde.vocabulary import UNKNOWN_COST, Cost, Status


class Operation:
    """One call, task, plan or session. A plain record; not for changing from several threads.

    ``start_ns`` is 0 where only the end is on record, ``end_ns`` 0 where only the start is; ``duration_s`` is what the
    end stated, else the time between the two (never negative), else ``None``. ``tokens`` and ``cost`` are its own,
    without those of its children. ``events`` counts the events that carry its span.
    """

    __slots__ = (
        "children",
        "cost",
        "duration_s",
        "end_data",
        "end_ns",
        "ended",
        "error",
        "error_type",
        "events",
        "kind",
        "name",
        "parent",
        "parent_id",
        "parent_missing",
        "plan_id",
        "session_id",
        "span_id",
        "start_data",
        "start_ns",
        "start_version",
        "status",
        "stream_id",
        "task_id",
        "tokens",
        "trace_id",
        "writer_id",
    )

    def __init__(self, kind: str, name: str, *, stream_id: str, span_id: str = "", parent_id: str = "") -> None:
        """An operation that nothing is known of yet but its place; :class:`OperationTree` fills in the rest."""
        self.kind = kind
        self.name = name
        self.stream_id = stream_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.session_id = self.plan_id = self.task_id = self.trace_id = self.writer_id = ""
        self.status = Status.RUNNING
        self.start_ns = self.end_ns = 0
        self.start_version = 0
        self.ended = False
        self.duration_s: float | None = None
        self.start_data: dict[str, Any] = {}
        self.end_data: dict[str, Any] = {}
        self.tokens: dict[str, int] = {}
        self.cost: Cost = UNKNOWN_COST
        self.error_type = self.error = ""
        self.events = 0
        self.parent: Operation | None = None
        self.parent_missing = False
        self.children: list[Operation] = []

    @property
    def data(self) -> dict[str, Any]:
        """What its start and its end say, together; the end has the last word."""
        return {**self.start_data, **self.end_data}

    @property
    def last_ns(self) -> int:
        """The end's time, or the start's where there is no end."""
        return self.end_ns or self.start_ns

    def walk(self) -> Iterator[tuple[int, Operation]]:
        """This operation and all below it with their depth, parents first, siblings in order of start.

        Needs no stack, however deep the tree is.
        """
        pending = [(0, self)]
        while pending:
            depth, operation = pending.pop()
            yield depth, operation
            pending.extend((depth + 1, child) for child in reversed(operation.children))

    def __repr__(self) -> str:
        return f"<Operation {self.kind} {self.name!r} {self.status} span={self.span_id or '-'}>"
