"""Decorated functions of every sort: what they record, and that they stay what they were."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sonde.context import current_scope
from sonde.events import Event
from sonde.instrument import Operations

Events = list[Event]


def told(events: Events) -> list[tuple[str, dict[str, Any]]]:
    """Types and data without durations."""
    return [(event.type, {key: value for key, value in event.data.items() if key != "duration_s"}) for event in events]


def test_a_bare_tool_records_arguments_and_result(rec: Operations, events: Events) -> None:
    """Positional values get their names; defaults that were not given stay away; the rest is kept as a list."""

    @rec.tool
    def search(query: str, limit: int = 10, *more: str, exact: bool = False, **options: int) -> list[str]:
        return [query]

    assert search("a", 5, "b", "c", exact=True, depth=2) == ["a"]
    assert search(query="z") == ["z"]
    assert told(events) == [
        (
            "tool.started",
            {
                "tool": "search",
                "args": {"query": "a", "limit": 5, "more": ["b", "c"], "exact": True, "depth": 2},
            },
        ),
        ("tool.completed", {"tool": "search", "result": ["a"]}),
        ("tool.started", {"tool": "search", "args": {"query": "z"}}),
        ("tool.completed", {"tool": "search", "result": ["z"]}),
    ]


def test_methods_leave_out_their_receiver(rec: Operations, events: Events) -> None:
    """``self`` and ``cls`` are no arguments; it works on both sides of ``@classmethod``, ``@staticmethod``."""

    class Agent:
        @rec.tool
        def plain(self, x: int) -> int:
            return x

        @classmethod
        @rec.tool
        def inside(cls, x: int) -> int:
            return x

        @rec.tool
        @classmethod
        def outside(cls, x: int) -> int:
            assert cls is Agent
            return x

        @rec.tool("static")
        @staticmethod
        def static_outside(x: int) -> int:
            return x

        @staticmethod
        @rec.tool
        def static_inside(x: int) -> int:
            return x

    agent = Agent()
    methods = [agent.plain, agent.inside, Agent.outside, agent.static_outside, Agent.static_inside]
    assert [method(number) for number, method in enumerate(methods)] == [0, 1, 2, 3, 4]
    assert [event.data["args"] for event in events[::2]] == [{"x": number} for number in range(5)]
    names = [event.data["tool"] for event in events[::2]]
    assert names == ["plain", "inside", "outside", "static", "static_inside"]


def test_only_tools_record_arguments_and_results(rec: Operations, events: Events) -> None:
    """Tasks, plans and shells say their name alone; the bare forms take it from the function."""
    for sort in (rec.plan, rec.task, rec.shell, rec.model):
        decorate: Callable[[Any], Any] = sort

        def work(x: int) -> str:
            return f"{x}"

        decorate(work)(1)
    assert [data for _, data in told(events)[::2]] == [
        {"title": "work"},
        {"title": "work"},
        {"command": "work"},
        {"model": "work"},
    ]
    assert not any("result" in event.data or "args" in event.data for event in events)


def test_a_model_takes_the_known_keys_of_a_mapping(rec: Operations, events: Events) -> None:
    """Tokens, cost, finish reason and request id come from a returned mapping, unless they were set by hand."""

    @rec.model("claude-x", provider="anthropic")
    def ask() -> dict[str, Any]:
        rec.current().set(output_tokens=9)
        return {"input_tokens": 3, "output_tokens": 4, "cost_usd": 0.1, "text": "hello"}

    ask()
    assert told(events)[1] == (
        "model.completed",
        {
            "model": "claude-x",
            "provider": "anthropic",
            "output_tokens": 9,
            "input_tokens": 3,
            "cost_usd": 0.1,
            "cost_source": "reported",
        },
    )


def test_fixed_arguments_stand_before_those_of_the_call(rec: Operations, events: Events) -> None:
    """What the decorator was given is recorded with each call, which wins."""

    @rec.tool("fetch", repo="a", depth=1)
    def fetch(depth: int) -> None: ...

    fetch(2)
    fetch(3)
    assert [event.data["args"] for event in events[::2]] == [{"repo": "a", "depth": 2}, {"repo": "a", "depth": 3}]


def test_the_sort_of_function_and_its_signature_stay(rec: Operations) -> None:
    """``inspect``, and the frameworks that ask it, see the function that was decorated."""

    def plain(a: int, *, b: str = "x") -> bool:
        """Doc."""
        return True

    async def coroutine() -> None: ...
    def generator() -> Any:
        yield

    async def async_generator() -> Any:
        yield

    assert inspect.signature(rec.tool(plain)) == inspect.signature(plain)
    assert (rec.tool(plain).__name__, rec.tool(plain).__doc__) == ("plain", "Doc.")
    assert inspect.iscoroutinefunction(rec.tool(coroutine))
    assert inspect.isgeneratorfunction(rec.tool(generator))
    assert inspect.isasyncgenfunction(rec.tool(async_generator))


def test_callables_without_a_signature_or_a_name_work(rec: Operations, events: Events) -> None:
    """Builtins, partial objects and instances with ``__call__``, async too."""

    class Tool:
        async def __call__(self, x: int) -> int:
            return x

    assert rec.tool(max)(1, 2) == 2
    assert rec.tool(functools.partial(divmod, 7))(2) == (3, 1)
    assert asyncio.run(rec.tool(Tool())(5)) == 5
    assert [event.data["tool"] for event in events[::2]] == ["max", "divmod", "Tool"]
    assert events[0].data["args"] == {"args": [1, 2]}
    assert events[5].data["result"] == 5


def test_what_cannot_be_decorated_comes_back(rec: Operations, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of the caller's is logged, not raised."""
    decorate: Any = rec.tool("x")
    assert decorate(5) == 5
    assert "cannot record int 5: expected a function" in caplog.text


def test_a_call_with_wrong_arguments_fails_as_it_would(rec: Operations, events: Events) -> None:
    """``TypeError`` comes from the function itself, and the call is recorded as failed."""

    @rec.tool
    def one(x: int) -> None: ...

    wrong: Any = one
    with pytest.raises(TypeError, match="positional argument"):
        wrong(1, 2)
    assert [event.type for event in events] == ["tool.started", "tool.failed"]
    assert events[0].data["args"] == {"x": 1, "args": [2]}


def test_recursive_and_concurrent_calls_have_their_own_spans(rec: Operations, events: Events) -> None:
    """A decorated function opens a new operation for each call, also while others run."""

    @rec.tool
    async def count(n: int) -> int:
        await asyncio.sleep(0)
        return n if n == 0 else await count(n - 1)

    async def main() -> None:
        await asyncio.gather(count(2), count(2))

    asyncio.run(main())
    spans = [event.span_id for event in events if event.type == "tool.started"]
    assert len(spans) == len(set(spans)) == 6
    parents = {event.span_id: event.parent_id for event in events}
    assert sorted(parents[span] == "" for span in spans) == [False] * 4 + [True] * 2


def test_cancelling_a_task_cancels_its_operations(rec: Operations, events: Events) -> None:
    """``CancelledError`` passes through, and each operation that it leaves is cancelled."""

    @rec.tool
    async def wait() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with rec.task("T"):
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert [event.type for event in events[2:]] == ["tool.cancelled", "task.cancelled"]


def test_the_scope_is_in_force_inside_and_put_back(rec: Operations) -> None:
    """The body sees its own operation, the caller its own scope again."""

    @rec.task("T", task_id="t-1")
    def body() -> str:
        return current_scope().task_id

    found = current_scope()
    assert body() == "t-1"
    assert current_scope() is found
