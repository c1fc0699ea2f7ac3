"""Decorated generators: begun at the first step, out of force at each yield, ended exactly once."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from sonde.clock import ManualClock
from sonde.context import current_scope
from sonde.events import Event
from sonde.instrument import Operations

Events = list[Event]


def types(events: Events) -> list[str]:
    return [event.type for event in events]


def test_a_generator_that_nobody_starts_records_nothing(rec: Operations, events: Events) -> None:
    """Making a generator runs nothing, so there is nothing to record."""

    @rec.tool
    def steps() -> Generator[int]:
        yield 1

    steps().close()
    del_me = steps()
    del del_me
    gc.collect()
    assert events == []


def test_nothing_leaks_to_the_consumer(rec: Operations, events: Events) -> None:
    """Between the steps the consumer's own scope is in force, inside the generator's, with its open blocks."""
    inside = []

    @rec.tool
    def steps() -> Generator[int]:
        inside.append(current_scope().span_id)
        with rec.task("inner") as op:
            yield 1
            assert current_scope().span_id == op.span_id
            yield 2
        inside.append(current_scope().span_id)

    with rec.task("consumer") as consumer:
        for _ in steps():
            assert current_scope().span_id == consumer.span_id
            with rec.tool("between"):
                pass
        assert current_scope().span_id == consumer.span_id
    assert inside[0] == inside[1] != consumer.span_id
    parents = {event.data.get("tool", event.data.get("title")): event.parent_id for event in events}
    assert parents == {
        "consumer": "",
        "steps": consumer.span_id,
        "inner": inside[0],
        "between": consumer.span_id,
    }


def test_send_throw_and_return_pass_through(rec: Operations, events: Events) -> None:
    """What the consumer sends and throws reaches the generator, and what it returns reaches ``yield from``."""
    error = ValueError("v")

    @rec.tool
    def steps() -> Generator[Any, Any, str]:
        got = yield "first"
        try:
            yield got
        except ValueError as caught:
            yield caught
        return "done"

    def outer() -> Generator[Any, Any, None]:
        assert (yield from steps()) == "done"

    generator = outer()
    assert next(generator) == "first"
    assert generator.send("sent") == "sent"
    assert generator.throw(error) is error
    assert error.__context__ is None
    assert next(generator, "end") == "end"
    assert types(events) == ["tool.started", "tool.completed"]
    assert events[1].data["result"] == "done"


def test_an_exception_leaves_as_it_was(rec: Operations, events: Events) -> None:
    """The generator's own exception reaches the consumer, and the operation has failed."""
    error = ValueError("v")

    @rec.tool
    def steps() -> Generator[int]:
        yield 1
        raise error

    generator = steps()
    next(generator)
    with pytest.raises(ValueError, match="v") as caught:
        next(generator)
    assert caught.value is error
    assert types(events) == ["tool.started", "tool.failed"]


@pytest.mark.parametrize("catches", [True, False])
def test_a_closed_generator_is_cancelled(rec: Operations, events: Events, catches: bool) -> None:
    """``close`` reaches the generator's own cleanup, and cancels, even if it catches ``GeneratorExit`` to return."""
    cleaned = []

    @rec.tool
    def steps() -> Generator[int]:
        try:
            yield 1
        except GeneratorExit:
            cleaned.append(current_scope().span_id)
            if not catches:
                raise

    generator = steps()
    next(generator)
    generator.close()
    assert types(events) == ["tool.started", "tool.cancelled"]
    assert cleaned == [events[0].span_id]


def test_a_generator_that_ignores_its_closing_is_told_so(rec: Operations, events: Events) -> None:
    """Python's own ``RuntimeError`` comes as it would without us."""

    @rec.tool
    def steps() -> Generator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = steps()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()
    del generator
    gc.collect()
    assert types(events) == ["tool.started", "tool.cancelled"]


def test_an_abandoned_generator_is_cancelled(rec: Operations, events: Events) -> None:
    """A generator that is thrown away, even by another thread, ends its operation there and leaks no scope."""

    @rec.tool
    def steps() -> Generator[int]:
        yield 1

    held = [steps()]
    next(held[0])
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert types(events) == ["tool.started", "tool.cancelled"]
    assert not rec._desk.open


def test_the_first_item_of_a_model_is_its_first_token(rec: Operations, events: Events, clock: ManualClock) -> None:
    """A streamed answer's ``ttft_s`` is noted without a word of the agent's; tools have none."""

    @rec.model("m")
    def stream() -> Generator[str]:
        clock.advance(0.5)
        yield "a"
        clock.advance(1)
        yield "b"

    @rec.tool
    def tool() -> Generator[str]:
        yield "a"

    assert [*stream(), *tool()] == ["a", "b", "a"]
    assert events[1].data["ttft_s"] == 0.5
    assert events[1].data["duration_s"] == 1.5
    assert "ttft_s" not in events[3].data


def test_async_generators_swap_the_scope_too(rec: Operations, events: Events) -> None:
    """Steps of an async generator run in its own scope, the consumer in its own; ``asend`` and ``athrow`` pass."""
    error = ValueError("v")

    @rec.model("m")
    async def stream() -> AsyncGenerator[Any, Any]:
        await asyncio.sleep(0)
        with rec.tool("inner"):
            got = yield current_scope().span_id
            try:
                yield got
            except ValueError as caught:
                yield caught

    async def main() -> None:
        with rec.task("consumer") as consumer:
            generator = stream()
            inner = await anext(generator)
            assert current_scope().span_id == consumer.span_id != inner
            assert await generator.asend("sent") == "sent"
            assert await generator.athrow(error) is error
            assert await anext(generator, "end") == "end"
            assert current_scope().span_id == consumer.span_id

    asyncio.run(main())
    assert types(events) == [
        "task.started",
        "model.started",
        "tool.started",
        "tool.completed",
        "model.completed",
        "task.completed",
    ]
    assert [event.parent_id for event in events[:3]] == ["", events[0].span_id, events[1].span_id]
    assert "ttft_s" in events[4].data


def test_an_async_generator_closed_in_another_context_is_cancelled(rec: Operations, events: Events) -> None:
    """``aclose`` from a task of another context raises nothing, and leaves that context alone."""
    others: list[str] = []

    @rec.tool
    async def steps() -> AsyncGenerator[int]:
        with rec.task("inner"):
            yield 1

    async def close(generator: AsyncGenerator[int]) -> None:
        with rec.task("other") as op:
            await generator.aclose()
            assert current_scope().span_id == op.span_id
            others.append(op.span_id)

    async def main() -> None:
        generator = steps()
        await anext(generator)
        await asyncio.get_running_loop().create_task(close(generator), context=contextvars.Context())

    asyncio.run(main())
    assert types(events) == [
        "tool.started",
        "task.started",
        "task.started",
        "task.cancelled",
        "tool.cancelled",
        "task.completed",
    ]
    assert others == [events[5].span_id]


def test_an_abandoned_async_generator_is_cancelled_by_the_loop(rec: Operations, events: Events) -> None:
    """A ``break`` out of ``async for`` leaves the generator to the loop, which closes it from a task of its own."""

    @rec.tool
    async def steps() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async def main() -> None:
        async for _ in steps():
            break
        gc.collect()

    asyncio.run(main())
    assert types(events) == ["tool.started", "tool.cancelled"]
    assert not rec._desk.open


def test_cancelling_the_consumer_cancels_the_stream(rec: Operations, events: Events) -> None:
    """A task that is cancelled while it waits for the next item cancels the generator's operation."""

    @rec.model("m")
    async def stream() -> AsyncGenerator[int]:
        yield 1
        await asyncio.Event().wait()
        yield 2

    async def consume() -> None:
        async for _ in stream():
            pass

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert types(events) == ["model.started", "model.cancelled"]
    assert events[1].data["cancelled_by"] == "CancelledError"
