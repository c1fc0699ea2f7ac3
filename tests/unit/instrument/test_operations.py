"""The vocabulary: which events each operation publishes, and what they say."""

import asyncio
import gc
import os
import threading
from contextvars import Context

import pytest

from sonde.clock import ManualClock
from sonde.context import Scope, current_scope, open_operations, propagate, set_scope
from sonde.events import Event
from sonde.instrument import Operations

Events = list[Event]


def types(events: Events) -> list[str]:
    return [event.type for event in events]


@pytest.mark.parametrize(
    ("noun", "subject"),
    [("plan", "title"), ("task", "title"), ("tool", "tool"), ("model", "model"), ("shell", "command")],
)
def test_an_operation_says_its_beginning_and_its_end(
    rec: Operations, events: Events, clock: ManualClock, noun: str, subject: str
) -> None:
    """Two events share one span, carry the subject, and the end has the duration in seconds."""
    with getattr(rec, noun)("x") as op:
        clock.advance(1.5)
        op.set(note="seen")
    assert types(events) == [f"{noun}.started", f"{noun}.completed"]
    assert [event.data for event in events] == [{subject: "x"}, {subject: "x", "note": "seen", "duration_s": 1.5}]
    assert {(event.span_id, event.trace_id, event.parent_id) for event in events} == {(op.span_id, op.trace_id, "")}
    assert [event.time_ns for event in events] == [1_000, 1_500_001_000]
    assert (len(op.span_id), len(op.trace_id)) == (16, 32)


def test_a_session_describes_its_process(rec: Operations, events: Events) -> None:
    """``session.started`` has pid, argv, host, versions and tags; ``session.ended`` has a status."""
    with rec.session(tags=["nightly"], agent="coder") as op:
        assert current_scope().session_id == "s-1"
    started, ended = events
    assert types(events) == ["session.started", "session.ended"]
    assert started.data["pid"] == os.getpid()
    assert started.data["tags"] == ["nightly"]
    assert started.data["agent"] == "coder"
    assert set(started.data["versions"]) == {"python", "sonde", "platform"}
    assert {"argv", "host"} <= started.data.keys()
    assert ended.data["status"] == "completed"
    assert ended.span_id == op.span_id


def test_a_failed_session_says_so(rec: Operations, events: Events) -> None:
    """``session.ended`` carries the error that ended it."""
    with pytest.raises(ValueError, match="boom"), rec.session():
        raise ValueError("boom")
    data = events[-1].data
    assert (data["status"], data["error_type"], data["error"]) == ("failed", "ValueError", "boom")


def test_another_session_is_in_force_inside(rec: Operations, events: Events) -> None:
    """``session_id`` names the session of what happens inside."""
    with rec.session(session_id="s-2"), rec.tool("x"):
        pass
    assert {event.session_id for event in events} == {"s-2"}


def test_the_scope_names_the_session_before_the_recorder_does(rec: Operations, events: Events) -> None:
    """The scope's session wins; where it names none, the recorder's own is used."""
    with rec.tool("own"):
        pass
    set_scope(Scope(session_id="s-9"))
    with rec.tool("scoped"):
        pass
    set_scope(Scope())
    assert [event.session_id for event in events] == ["s-1", "s-1", "s-9", "s-9"]


def test_plan_and_task_name_what_happens_inside(rec: Operations, events: Events) -> None:
    """Given ids are kept; without one, each entry gets a short new one."""
    with rec.plan("P", plan_id="p-1"), rec.task("T") as task, rec.tool("x"):
        pass
    tool = events[2]
    assert tool.type == "tool.started"
    assert (tool.plan_id, tool.task_id) == ("p-1", task.task_id)
    assert task.task_id.startswith("task-")
    assert len(task.task_id) == len("task-1a2b3c4d")
    handle = rec.task("again")
    names = set()
    for _ in range(2):
        with handle as op:
            names.add(op.task_id)
    assert len(names) == 2


def test_a_tool_may_have_any_argument_name(rec: Operations, events: Events) -> None:
    """Names that sonde uses itself are still arguments of the tool."""
    with rec.tool("create", name="n", self=1, plan_id="mine", function=2, tool="t") as op:
        op.set(self="s", data="d")
    assert events[0].data["args"] == {"name": "n", "self": 1, "plan_id": "mine", "function": 2, "tool": "t"}
    assert events[0].plan_id == ""
    assert (events[1].data["self"], events[1].data["data"]) == ("s", "d")


def test_a_model_call_says_tokens_cost_and_first_token(rec: Operations, events: Events, clock: ManualClock) -> None:
    """Both ends name model and provider; a cost that is given counts as reported; only the first token counts."""
    with rec.model("m", provider="p", temperature=0) as op:
        clock.advance(0.25)
        op.first_token()
        clock.advance(1)
        op.first_token()
        op.set(input_tokens=3, output_tokens=-1, cost_usd=0.5)
    started, ended = (event.data for event in events)
    assert started == {"model": "m", "provider": "p", "temperature": 0}
    assert ended == {
        "model": "m",
        "provider": "p",
        "ttft_s": 0.25,
        "input_tokens": 3,
        "output_tokens": -1,  # a bad count is kept, and nothing raised
        "cost_usd": 0.5,
        "cost_source": "reported",
        "duration_s": 1.25,
    }


@pytest.mark.parametrize(
    ("exit_code", "end", "error"),
    [
        (None, "shell.completed", None),
        (0, "shell.completed", None),
        (3, "shell.failed", "exit status 3"),
        (-9, "shell.failed", "killed by SIGKILL"),
        (-250, "shell.failed", "killed by signal 250"),
        ("odd", "shell.completed", None),
    ],
)
def test_an_exit_code_decides_how_a_command_ended(
    rec: Operations, events: Events, exit_code: object, end: str, error: str | None
) -> None:
    """Any exit code but 0 is a failure, a negative one names its signal."""
    with rec.shell(["git", "status"]) as op:
        op.set(exit_code=exit_code)
    assert (events[1].type, events[1].data.get("error")) == (end, error)
    assert events[1].data["command"] == ["git", "status"]


@pytest.mark.parametrize("output", ["ü" * 100_000, b"\xff" * 200_000])
def test_output_is_bounded_and_its_size_said(rec: Operations, events: Events, output: str | bytes) -> None:
    """Head and tail stay, 64 k characters, and the true size in bytes is said."""
    with rec.shell("yes") as op:
        op.set(stdout=output, stderr=b"short \xff")
    data = events[1].data
    assert data["stdout_bytes"] == 200_000
    assert 65_536 <= len(data["stdout"]) < 65_700
    assert "left out" in data["stdout"]
    assert data["stderr"] == "short �"
    assert "stderr_bytes" not in data


def test_fail_marks_failed_without_raising(rec: Operations, events: Events) -> None:
    """``fail`` takes a text or an exception."""
    with rec.tool("x") as op:
        op.fail("no such file")
    with rec.tool("x") as op:
        op.fail(KeyError("k"))
    assert types(events)[1::2] == ["tool.failed", "tool.failed"]
    assert [(event.data["error_type"], event.data["error"]) for event in events[1::2]] == [
        ("failure", "no such file"),
        ("KeyError", "'k'"),
    ]


def test_set_before_the_beginning_goes_with_the_first_event(rec: Operations, events: Events) -> None:
    """What is set on a handle that nobody entered yet is said at the beginning, at each entry."""
    op = rec.task("T")
    op.set(owner="me")
    for _ in range(2):
        with op:
            pass
    assert [event.data.get("owner") for event in events] == ["me", None, "me", None]


def test_set_after_the_end_is_lost_and_said(rec: Operations, events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """An ended operation can't say more; that is logged once, naming the key."""
    with rec.tool("x") as op:
        pass
    op.set(late=1)
    op.set(late=2)
    op.fail("late")
    assert len(events) == 2
    assert [record.message.split(" on ")[0] for record in caplog.records] == ["set(late)", "fail()"]


def test_a_handle_entered_twice_at_once_opens_two_spans(rec: Operations, events: Events) -> None:
    """Each further entry has a handle of its own, and each block closes its own span."""
    op = rec.tool("x")
    with op as outer:
        with op as inner:
            inner.set(level=2)
        outer.set(level=1)
    assert outer is op
    assert [(event.type, event.span_id) for event in events] == [
        ("tool.started", outer.span_id),
        ("tool.started", inner.span_id),
        ("tool.completed", inner.span_id),
        ("tool.completed", outer.span_id),
    ]
    assert events[1].parent_id == outer.span_id
    assert [event.data["level"] for event in events[2:]] == [2, 1]


def test_a_handle_shared_by_tasks_closes_the_right_span(rec: Operations, events: Events) -> None:
    """Entries that overlap without nesting keep their own ends, whatever the order in which they leave."""
    op = rec.tool("x")

    async def enter(number: int, leave: asyncio.Event) -> None:
        async with op as mine:
            mine.set(number=number)
            await leave.wait()

    async def main() -> None:
        gates = [asyncio.Event() for _ in range(3)]
        tasks = [asyncio.create_task(enter(number, gate)) for number, gate in enumerate(gates)]
        await asyncio.sleep(0)
        for number in (0, 2, 1):  # the first to enter leaves first
            gates[number].set()
            await tasks[number]

    asyncio.run(main())
    assert len({event.span_id for event in events}) == 3
    assert [event.data["number"] for event in events[3:]] == [0, 2, 1]
    begun = [event.span_id for event in events[:3]]
    assert [event.span_id for event in events[3:]] == [begun[0], begun[2], begun[1]]


def test_current_is_the_innermost_operation(rec: Operations, events: Events) -> None:
    """``current`` finds the open operation; outside any, what it gives accepts all and records nothing."""
    rec.current().set(lost=1)
    with rec.task("T") as task:
        with rec.tool("x") as tool:
            assert rec.current() is tool
        assert rec.current() is task
    assert not rec._desk.open
    assert "lost" not in {key for event in events for key in event.data}


def test_threads_keep_the_session_and_propagate_keeps_the_parent(rec: Operations, events: Events) -> None:
    """A plain thread has no parent but the recorder's session; ``propagate`` and ``to_thread`` carry the parent."""

    def work(name: str) -> None:
        with rec.tool(name):
            pass

    async def main() -> str:
        async with rec.task("T") as task:
            await asyncio.to_thread(work, "to_thread")
            for target in (propagate(work), work):
                thread = threading.Thread(target=target, args=("bound" if target is not work else "plain",))
                thread.start()
                thread.join()
        return task.span_id

    parent = asyncio.run(main())
    begun = {event.data["tool"]: event for event in events if event.type == "tool.started"}
    assert {name: event.parent_id for name, event in begun.items()} == {
        "to_thread": parent,
        "bound": parent,
        "plain": "",
    }
    assert {event.session_id for event in events} == {"s-1"}
    assert begun["plain"].trace_id != begun["bound"].trace_id == events[0].trace_id


def test_an_adopted_operation_is_the_parent_of_roots(rec: Operations, events: Events) -> None:
    """What begins outside any operation becomes a child of the adopted one, in its trace, in every thread."""
    with rec.session() as session:
        pass
    rec.adopt(session)
    with rec.tool("x"):
        pass
    assert {(event.parent_id, event.trace_id) for event in events[2:]} == {(session.span_id, session.trace_id)}


def test_closing_in_another_thread_leaves_that_thread_alone(rec: Operations, events: Events) -> None:
    """An operation may be ended by another thread, whose own scope stays as it was."""
    seen: list[Scope] = []
    op = rec.tool("x")
    with rec.task("T"):
        found = current_scope()
        op.__enter__()
        set_scope(found)

    def close() -> None:
        op.__exit__(None, None, None)
        seen.append(current_scope())

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert types(events)[1::2] == ["tool.started", "tool.completed"]
    assert seen == [Scope()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_makes_other_ids() -> None:
    """The pool of ids is emptied in a forked child, so both never hand out the same id."""
    from sonde.instrument.identifier import new_span_id

    new_span_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, "".join(new_span_id() for _ in range(20)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 1_000).decode()
    os.close(reader)
    os.close(writer)
    ours = {new_span_id() for _ in range(300)}
    assert len(theirs) == 320
    assert not ours & {theirs[start : start + 16] for start in range(0, 320, 16)}


def test_a_handle_left_out_of_its_context_closes_the_last_entry(rec: Operations, events: Events) -> None:
    """Where no scope tells which entry is left, it is the last one, and in the end all are closed."""
    op = rec.tool("x")
    found = current_scope()
    entries = [op.__enter__() for _ in range(3)]
    set_scope(found)
    for _ in entries:
        op.__exit__(None, None, None)
    begun = [event.span_id for event in events[:3]]
    assert [event.span_id for event in events[3:]] == [begun[2], begun[1], begun[0]]
    assert not rec._desk.open


def test_handles_that_overlap_in_one_context_close_the_one_in_force(rec: Operations, events: Events) -> None:
    """Of several entries the scope in force tells which one is left, not the order in which they came."""
    op = rec.tool("x")
    first, second, third = (op.__enter__() for _ in range(3))
    set_scope(Scope(span_id=second.span_id))
    op.__exit__(None, None, None)
    assert events[-1].span_id == second.span_id
    for _ in (third, first):
        op.__exit__(None, None, None)
    set_scope(Scope())
    assert len({event.span_id for event in events[3:]}) == 3


def test_a_profiler_finds_where_operations_are_open() -> None:
    """A desk tells, from any thread, in which thread and context each open operation was entered, and its parent."""
    rec = Operations(lambda event: None, session_id="s-1")
    desk = next(one for one in open_operations() if one is rec._desk)
    with rec.task("Sum up") as task, rec.tool("add") as tool:
        assert desk.describe(tool.span_id) == ("tool", "add", task.span_id)
        assert [mark.ident for mark, _ in desk.places()] == [threading.get_ident()] * 2
        kept = [token for _, token in desk.places()]
        assert len({id(one) for token in kept for one in gc.get_referents(token) if isinstance(one, Context)}) == 1
    assert desk.places() == []
    assert desk.describe(tool.span_id) is None
    assert tool._token is None
