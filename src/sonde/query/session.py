"""Session: one run of an agent, summed up from the events of its stream."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

import msgspec

from sonde.events import EventType, RecordedEvent
from sonde.query.operation import Operation
from sonde.query.operations import OperationTree, OperationTreeBuilder
from sonde.query.pulse import Pulse
from sonde.query.totals import CostTotal, Totals, total_operations, total_usage
from sonde.store.contract import Liveness
from sonde.vocabulary import Status

_BOUNDS = {"estimated": "some", "at_most": "at most"}  # of a gap, the weaker one first


class SessionSummary(msgspec.Struct):
    """A session at a glance.

    ``ended_ns`` is ``None`` while it has not ended; ``last_ns`` is the time of its last event. ``duration_s`` goes from
    the first to the last event, by the events' own times, and is never negative. ``missed`` counts the events that the
    recorder says it lost (``missed_bound``: ``""`` exactly so many, ``"at most"``, or ``"some"``), ``removed`` those at
    its beginning that retention has removed: nothing else here knows of them. ``pid``, ``host``, ``argv`` are of the
    process that recorded it last.
    """

    session_id: str
    stream_id: str
    status: Status
    started_ns: int
    last_ns: int
    ended_ns: int | None
    duration_s: float
    events: int
    operations: int
    failures: int
    missed: int
    missed_bound: str
    removed: int
    tokens: dict[str, int]
    cost: CostTotal
    tags: list[str]
    pid: int | None
    host: str
    argv: list[str]
    writers: list[str]

    @property
    def command(self) -> str:
        """The command line, quoted for a shell; empty if it was not recorded."""
        return shlex.join(self.argv)


class Session(msgspec.Struct):
    """A session with all its operations and totals."""

    summary: SessionSummary
    tree: OperationTree
    totals: Totals


def session_from_events(stream_id: str, events: Iterable[RecordedEvent], *, pulse: Pulse | None = None) -> Session:
    """Sum up the events of one stream, in order of version.

    The status is that of the session operation that started last, unless another is still running: several processes
    may record one session. A stream without session events (one of the original's) is running while one of its writers
    is alive, else what its open operations are, else completed; but interrupted, if a gap says that a kill took events,
    and stale without operations and of unknown writers.
    """
    pulse = pulse or Pulse()
    kept = list(events)
    builder = OperationTreeBuilder()
    for event in kept:
        builder.add(event)
    tree = builder.finish(pulse)
    totals = total_usage(kept, total_operations(tree.operations))
    runs = [root for root in tree.operations if root.kind == "session" and root.parent is None]
    times = [event.time_ns for event in kept if event.time_ns]
    started_ns, last_ns = (min(times), max(times)) if times else (0, 0)
    writers = list(dict.fromkeys(event.writer_id for event in kept if event.writer_id))
    gaps = [event.data for event in kept if event.type == EventType.GAP.value]
    was_killed = len(gaps) == len(kept) > 0 or any("killed" in _dict(gap.get("reasons")) for gap in gaps)
    status = _status(runs, tree, [pulse.liveness(writer_id) for writer_id in writers], was_killed=was_killed)
    last: dict[str, Any] = runs[-1].start_data if runs else {}
    operations = [operation for operation in tree.operations if operation.kind != "session"]
    summary = SessionSummary(
        session_id=next((event.session_id for event in kept if event.session_id), stream_id),
        stream_id=stream_id,
        status=status,
        started_ns=started_ns,
        last_ns=last_ns,
        ended_ns=None if status.is_open else last_ns,
        duration_s=(last_ns - started_ns) / 1e9,
        events=len(kept),
        operations=len(operations),
        failures=sum(1 for operation in operations if operation.status is Status.FAILED),
        missed=sum(count for gap in gaps if isinstance(count := gap.get("missed"), int)),
        missed_bound=next((said for key, said in _BOUNDS.items() if any(gap.get(key) for gap in gaps)), ""),
        removed=_removed(kept),
        tokens=totals.tokens,
        cost=totals.cost,
        tags=sorted({str(tag) for run in runs for tag in _list(run.data.get("tags"))}),
        pid=last["pid"] if isinstance(last.get("pid"), int) else None,
        host=str(last.get("host") or ""),
        argv=[str(part) for part in _list(last.get("argv"))],
        writers=writers,
    )
    return Session(summary, tree, totals)


def _removed(events: list[RecordedEvent]) -> int:
    """The versions before the first event, unless that one is a gap and says itself where they are."""
    if not events:
        return 0
    first = events[0]
    missed = first.data.get("missed") if first.type == EventType.GAP.value else 0
    return max(0, first.version - 1 - (missed if isinstance(missed, int) else 0))


def _status(runs: list[Operation], tree: OperationTree, writers: list[Liveness], *, was_killed: bool) -> Status:
    if runs:
        running = any(run.status is Status.RUNNING for run in runs)
        return Status.RUNNING if running else runs[-1].status
    if Liveness.ALIVE in writers:
        return Status.RUNNING
    if any(operation.parent_missing for operation in tree.operations):
        return Status.INTERRUPTED  # its beginning was removed, and it never came to an end
    open_statuses = {operation.status for operation in tree.operations if not operation.ended}
    for status in (Status.RUNNING, Status.INTERRUPTED, Status.STALE):
        if status in open_statuses:
            return status
    if was_killed:
        return Status.INTERRUPTED
    if not tree.operations and all(writer is Liveness.UNKNOWN for writer in writers):
        return Status.STALE  # events alone, of processes that nobody knows: nothing says that it came to an end
    return Status.COMPLETED


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
