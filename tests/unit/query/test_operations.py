"""OperationTree: starts and ends become operations, parents get their children, nothing is left out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonde.clock import ManualClock
from sonde.events import Event, Position, RecordedEvent
from sonde.query import OperationTree, Pulse, Status
from sonde.store.contract import Liveness
from sonde.vocabulary import Cost

S = 10**9


def span(number: int) -> str:
    return f"{number:016x}"


def event(kind: str, at_s: float = 0, /, *, data: dict[str, Any] | None = None, **fields: Any) -> Event:
    return Event(kind, int(at_s * S), fields.pop("session_id", "s"), data=data or {}, **fields)


def recorded(version: int, kind: str, *, writer_id: str = "w", at_s: float = 1, **fields: Any) -> RecordedEvent:
    return RecordedEvent(
        kind,
        int(at_s * S),
        "s",
        data=fields.pop("data", {}),
        writer_id=writer_id,
        seq=version,
        stream_id="s",
        version=version,
        position=Position(version),
        **fields,
    )


def outline(tree: OperationTree) -> list[str]:
    return [f"{'  ' * depth}{op.kind} {op.name}".rstrip() for depth, op in tree.walk()]


def test_a_start_and_an_end_of_one_span_are_one_operation() -> None:
    """Name, times, data, status and error come from both ends; the stated duration wins over the clock."""
    tree = OperationTree.from_events(
        [
            event("tool.started", 1, span_id=span(1), data={"tool": "fetch", "args": {"url": "u"}}),
            event(
                "tool.failed",
                9,
                span_id=span(1),
                data={"tool": "fetch", "duration_s": 2.5, "error_type": "E", "error": "no"},
            ),
        ]
    )
    (op,) = tree.operations
    assert (op.kind, op.name, op.status, op.start_ns, op.end_ns, op.duration_s) == (
        "tool",
        "fetch",
        "failed",
        S,
        9 * S,
        2.5,
    )
    assert (op.error_type, op.error, op.events) == ("E", "no", 2)
    assert op.data["args"] == {"url": "u"}
    assert op.start_data == {"tool": "fetch", "args": {"url": "u"}}
    assert tree.find(span(1)) is op
    assert tree.find(span(2)) is None


@pytest.mark.parametrize(
    ("end", "status"), [("tool.completed", "completed"), ("tool.failed", "failed"), ("tool.cancelled", "cancelled")]
)
def test_every_end_has_its_status(end: str, status: str) -> None:
    """The verb of the last event is the status."""
    (op,) = OperationTree.from_events([event("tool.started", span_id=span(1)), event(end, span_id=span(1))]).operations
    assert op.status == status
    assert op.ended


def test_a_clock_that_steps_back_gives_no_negative_duration() -> None:
    """Without a stated duration, the time between start and end counts, 0 at least."""
    (op,) = OperationTree.from_events(
        [event("a.started", 5, span_id=span(1)), event("a.completed", 2, span_id=span(1))]
    ).operations
    assert op.duration_s == 0.0


def test_parents_are_those_that_parent_ids_name() -> None:
    """The tree follows parent ids, whatever order the events came in."""
    tree = OperationTree.from_events(
        [
            event("tool.started", 2, span_id=span(2), parent_id=span(1), data={"tool": "child"}),
            event("task.started", 1, span_id=span(1), data={"title": "parent"}),
            event("tool.completed", 3, span_id=span(2), parent_id=span(1)),
            event("task.completed", 4, span_id=span(1)),
        ]
    )
    assert outline(tree) == ["task parent", "  tool child"]


def test_the_original_s_operations_are_paired_in_order() -> None:
    """Without spans, an end belongs to the oldest open start of the same ids, kind and name."""
    ids = {"plan_id": "p", "task_id": "t"}
    tree = OperationTree.from_events(
        [
            event("task.started", 0, **ids, data={"title": "fix"}),
            event("tool.started", 1, **ids, data={"tool": "a"}),
            event("tool.started", 2, **ids, data={"tool": "b"}),
            event("tool.started", 3, **ids, data={"tool": "a"}),
            event("tool.completed", 4, **ids, data={"tool": "b", "duration_ms": 1500}),
            event("tool.completed", 5, **ids, data={"tool": "a"}),
            event("tool.failed", 7, **ids, data={"tool": "a", "error": "x"}),
            event("model.stream_start", 8, **ids, data={"model": "m"}),
            event("model.stream_end", 9, **ids, data={"model": "m"}),
            event("tokens.updated", 9, **ids, data={"model": "m", "prompt_tokens": 7, "completion_tokens": 2}),
            event("task.completed", 10, **ids),
        ]
    )
    assert outline(tree) == ["task fix", "  tool a", "  tool b", "  tool a", "  model m"]
    _, first, b, second, model = tree.operations
    assert (first.duration_s, first.status) == (4.0, "completed")
    assert b.duration_s == 1.5
    assert (second.duration_s, second.status) == (4.0, "failed")
    assert model.tokens == {"input_tokens": 7, "output_tokens": 2}


def test_other_tasks_and_streams_do_not_mix() -> None:
    """The same tool in another task or session is another operation."""
    tree = OperationTree.from_events(
        [
            event("tool.started", 1, task_id="t1", data={"tool": "a"}),
            event("tool.completed", 2, task_id="t2", data={"tool": "a"}),
            event("tool.completed", 2, task_id="t1", data={"tool": "a"}, session_id="other"),
        ]
    )
    assert [op.ended for op in tree.operations] == [False, True, True]


def test_an_end_without_a_start_is_shown() -> None:
    """A start that retention removed or a gap swallowed does not hide the operation."""
    (op,) = OperationTree.from_events(
        [event("tool.completed", 5, span_id=span(1), data={"tool": "x", "duration_s": 1})]
    ).operations
    assert (op.name, op.status, op.start_ns, op.duration_s) == ("x", "completed", 0, 1.0)


def test_a_second_end_of_a_span_is_the_same_operation() -> None:
    """Two ends of one call, such as the original's and sonde's own, are one operation."""
    (op,) = OperationTree.from_events(
        [
            event("model.started", 1, span_id=span(1), data={"model": "m"}),
            event("model.stream_end", 2, span_id=span(1), data={"finish_reason": "stop"}),
            event("model.completed", 3, span_id=span(1), data={"input_tokens": 3, "cost_usd": 0.5}),
        ]
    ).operations
    assert op.events == 3
    assert op.data == {"model": "m", "finish_reason": "stop", "input_tokens": 3, "cost_usd": 0.5}
    assert op.cost == Cost(0.5, "reported")


def test_an_orphan_hangs_under_its_session() -> None:
    """A parent that is not on record is marked as missing, and the operation is still in the tree."""
    tree = OperationTree.from_events(
        [
            event("session.started", 1, span_id=span(1)),
            event("tool.started", 2, span_id=span(3), parent_id=span(99), data={"tool": "lost"}),
            event("tool.started", 2, span_id=span(4), data={"tool": "loose"}),
        ]
    )
    assert outline(tree) == ["session s", "  tool lost", "  tool loose"]
    assert [op.parent_missing for op in tree.operations] == [False, True, False]


def test_circles_of_parents_are_cut() -> None:
    """Damaged data whose parents go round in a circle loses no operation and ends no walk late."""
    tree = OperationTree.from_events(
        [
            event("tool.started", span_id=span(1), parent_id=span(2)),
            event("tool.started", span_id=span(2), parent_id=span(3)),
            event("tool.started", span_id=span(3), parent_id=span(1)),
            event("tool.started", span_id=span(4), parent_id=span(4)),
        ]
    )
    assert len(list(tree.walk())) == 4
    assert sum(op.parent_missing for op in tree.operations) == 2


def test_a_chain_of_ten_thousand_overflows_nothing() -> None:
    """Depth costs no stack."""
    tree = OperationTree.from_events(
        event("tool.started", n, span_id=span(n), parent_id=span(n - 1) if n > 1 else "") for n in range(1, 10_001)
    )
    assert max(depth for depth, _ in tree.walk()) == 9_999


def test_increments_count_where_the_end_says_nothing() -> None:
    """Tokens and cost emitted inside a call are its own, unless its end states the same."""
    events = [
        event("model.started", 1, span_id=span(1), data={"model": "m"}),
        event("tokens.updated", 2, parent_id=span(1), data={"prompt_tokens": 4}),
        event("tokens.updated", 2, parent_id=span(1), data={"prompt_tokens": 6}),
        event("cost.updated", 2, span_id=span(1), data={"usd": 0.25}),
        event("cost.updated", 2, span_id=span(1), data={"usd": 0.5}),
    ]
    (op,) = OperationTree.from_events(events).operations
    assert op.tokens == {"input_tokens": 10}
    assert op.cost == Cost(0.75, "reported")
    assert op.events == 5
    (op,) = OperationTree.from_events(
        [*events, event("model.completed", 3, span_id=span(1), data={"input_tokens": 9})]
    ).operations
    assert op.tokens == {"input_tokens": 9}
    assert op.cost.usd == 0.75


@pytest.mark.parametrize(
    ("liveness", "now_s", "status"),
    [
        (Liveness.ALIVE, 10_000, Status.RUNNING),
        (Liveness.DEAD, 1, Status.INTERRUPTED),
        (Liveness.UNKNOWN, 61, Status.RUNNING),
        (Liveness.UNKNOWN, 62, Status.STALE),
    ],
)
def test_what_is_open_depends_on_its_writer(liveness: Liveness, now_s: int, status: Status) -> None:
    """A dead writer's operations are interrupted; an unknown one's run for a minute after the last event."""
    pulse = Pulse(lambda writer_id: liveness, clock=ManualClock(time_ns=now_s * S))
    (op,) = OperationTree.from_events([recorded(1, "tool.started", span_id=span(1))], pulse=pulse).operations
    assert op.status is status
    assert op.status.is_open


def test_what_outlives_its_session_is_interrupted() -> None:
    """Once a writer has ended its session, nothing will end what it left open; another writer's goes on."""
    pulse = Pulse(lambda writer_id: Liveness.ALIVE, clock=ManualClock())
    tree = OperationTree.from_events(
        [
            recorded(1, "session.started", span_id=span(1)),
            recorded(2, "tool.started", span_id=span(2), parent_id=span(1)),
            recorded(3, "tool.started", span_id=span(3), parent_id=span(1), writer_id="other"),
            recorded(4, "session.ended", span_id=span(1)),
        ],
        pulse=pulse,
    )
    assert [op.status.value for op in tree.operations] == ["completed", "interrupted", "running"]


verbs = st.sampled_from(["started", "completed", "failed", "updated", "stream_start", "stream_end", "ended"])
kinds = st.sampled_from(["tool", "model", "task", "plan", "session", "tokens", "sonde"])
spans = st.integers(0, 4).map(lambda n: span(n) if n else "")


@given(
    st.lists(
        st.builds(
            lambda k, v, s, p, t: event(f"{k}.{v}", 1, span_id=s, parent_id=p, task_id=t),
            kinds,
            verbs,
            spans,
            spans,
            st.sampled_from(["", "t"]),
        ),
        max_size=30,
    )
)
def test_every_operation_is_in_the_tree_once(events: list[Event]) -> None:
    """Whatever the events are, the walk meets each operation exactly once, below its parent."""
    tree = OperationTree.from_events(events)
    walked = [op for _, op in tree.walk()]
    assert sorted(map(id, walked)) == sorted(map(id, tree.operations))
    assert all(op.parent is None or op in op.parent.children for op in walked)
    assert tree.events == len(events)
