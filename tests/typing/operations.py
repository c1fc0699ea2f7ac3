"""What type checkers say about operations in user code. Checked by mypy, never run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, assert_type

from sonde.events import Event, PublishedEvent
from sonde.instrument import (
    DisabledOperations,
    FilePrices,
    GenaiPrices,
    NoPrices,
    Operation,
    Operations,
    PriceTable,
    price,
)

rec = Operations(print, session_id="s-1")


@rec.tool
def bare(path: str, *, lines: int = 10) -> list[str]:
    return [path] * lines


@rec.tool("named", depth=3)
def named(path: str) -> int:
    return len(path)


@rec.task("Fix")
async def coroutine(x: int) -> str:
    return str(x)


@rec.model("claude-x", provider="anthropic")
def generator(prompt: str) -> Iterator[str]:
    yield prompt


@rec.model
async def async_generator(prompt: str) -> AsyncIterator[str]:
    yield prompt


class Agent:
    @rec.tool
    def method(self, x: int) -> int:
        return x

    @classmethod
    @rec.tool
    def of_class(cls, x: int) -> int:
        return x

    @staticmethod
    @rec.shell("ls")
    def static(x: int) -> int:
        return x


assert_type(bare("a", lines=3), list[str])
assert_type(named("a"), int)
assert_type(generator("a"), Iterator[str])
assert_type(async_generator("a"), AsyncIterator[str])
assert_type(Agent().method(1), int)
assert_type(Agent.of_class(1), int)
assert_type(Agent.static(1), int)
_coroutine: Callable[[int], Coroutine[Any, Any, str]] = coroutine
_awaitable: Awaitable[str] = coroutine(1)

# Wrong calls stay wrong calls: an unused ignore would be an error.
bare(1)  # type: ignore[arg-type]
bare("a", line=3)  # type: ignore[call-arg]
named()  # type: ignore[call-arg]
Agent().method("x")  # type: ignore[arg-type]

assert_type(rec.session(tags=["x"]), Operation)
assert_type(rec.plan("P", plan_id="p-1", steps=3), Operation)
assert_type(rec.task("T", task_id="t-1"), Operation)
assert_type(rec.tool("read_file", path="a.py"), Operation)
assert_type(rec.model("claude-x", provider=None, temperature=0), Operation)
assert_type(rec.shell(["git", "status"], cwd="."), Operation)
assert_type(rec.current(), Operation)

with rec.tool("x") as op:
    assert_type(op, Operation)
    assert_type(op.span_id, str)
    op.set(result=[1])
    op.fail("no")
    op.fail(ValueError("no"))
    op.fail(3)  # type: ignore[arg-type]


def fails() -> int:
    with rec.tool("x"):  # a block that swallowed exceptions would make mypy miss a return here
        return 1


async def blocks() -> None:
    async with rec.model("m") as operation:
        assert_type(operation, Operation)
        operation.first_token()


off: Operations = DisabledOperations()
assert_type(off.tool("x"), Operation)

tables: list[PriceTable] = [GenaiPrices(), FilePrices("prices.toml"), NoPrices()]
assert_type(price(Event("model.completed"), tables[0]), Event)
assert_type(price(PublishedEvent("model.completed"), NoPrices()), PublishedEvent)
