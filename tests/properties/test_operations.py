"""Operations: whatever is nested in whatever way, the recorded tree is the tree that ran."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from sonde.context import EMPTY_SCOPE, current_scope, propagate, set_scope
from sonde.events import Event
from sonde.instrument import Operations, snapshot

FORMS = ("with", "function", "generator", "async with", "coroutine", "async generator")
WAYS = ("in turn", "gather", "group", "to_thread", "propagate")


class Node(NamedTuple):
    """One operation: in which form, how its children run, and whether it fails."""

    form: str
    way: str
    fails: bool
    children: tuple[Node, ...]


trees = st.recursive(
    st.builds(Node, st.sampled_from(FORMS), st.sampled_from(WAYS), st.booleans(), st.just(())),
    lambda nodes: st.builds(
        Node,
        st.sampled_from(FORMS),
        st.sampled_from(WAYS),
        st.booleans(),
        st.lists(nodes, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=10,
)


class FailedError(Exception):
    """What a failing node raises."""


class Forest:
    """Runs trees and notes who is whose parent, by names that say the path: ``0.2.1``."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.rec = Operations(self.events.append, session_id="s-1")
        self.parents: dict[str, str] = {}

    async def run(self, node: Node, name: str = "0", parent: str = "") -> None:
        self.parents[name] = parent
        found = current_scope()
        try:
            await self._perform(node, name)
        except FailedError:
            assert node.fails
        else:
            assert not node.fails
        assert current_scope() is found

    async def _perform(self, node: Node, name: str) -> None:
        operation = self.rec.tool(name)
        if node.form == "with":
            with operation:
                await self._body(node, name)
        elif node.form == "async with":
            async with operation:
                await self._body(node, name)
        elif node.form == "coroutine":
            await operation(self._body)(node, name)
        elif node.form == "async generator":
            async for _ in operation(self._steps)(node, name):
                assert self.rec.current().span_id == current_scope().span_id
        elif node.form == "function":
            operation(lambda: exhaust(self._sync_body(node, name)))()
        else:
            exhaust(operation(self._sync_body)(node, name))

    async def _body(self, node: Node, name: str) -> None:
        runs = [self.run(child, f"{name}.{number}", name) for number, child in enumerate(node.children)]
        if node.way == "gather":
            await asyncio.gather(*runs)
        elif node.way == "group":
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(run)
        else:
            for run in runs:
                if node.way == "to_thread":
                    await asyncio.to_thread(asyncio.run, run)
                else:
                    await run
        if node.fails:
            raise FailedError

    async def _steps(self, node: Node, name: str) -> AsyncGenerator[int]:
        for number, child in enumerate(node.children):
            await self.run(child, f"{name}.{number}", name)
            yield number
        if node.fails:
            raise FailedError

    def _sync_body(self, node: Node, name: str) -> Generator[int]:
        # Children of synchronous nodes run in threads, which either have a loop of their own or find one there.
        for number, child in enumerate(node.children):

            def run(child: Node = child, number: int = number) -> None:
                asyncio.run(self.run(child, f"{name}.{number}", name))

            thread = threading.Thread(target=propagate(run))
            thread.start()
            thread.join()
            yield number
        if node.fails:
            raise FailedError


def exhaust(steps: Generator[int]) -> None:
    for _ in steps:
        pass


@given(trees)
def test_the_recorded_tree_is_the_real_one(tree: Node) -> None:
    """Parents, traces, ends and scopes are right under blocks, decorators, generators, gather, groups and threads."""
    set_scope(EMPTY_SCOPE)
    forest = Forest()
    asyncio.run(forest.run(tree))
    started = {event.data["tool"]: event for event in forest.events if event.type == "tool.started"}
    ended = {event.data["tool"]: event for event in forest.events if event.type != "tool.started"}

    names = {event.span_id: name for name, event in started.items()}
    assert {name: names.get(event.parent_id, "") for name, event in started.items()} == forest.parents
    assert {(event.trace_id, event.session_id) for event in forest.events} == {(started["0"].trace_id, "s-1")}
    # Each began once and ended once, with the same identity at both ends.
    assert set(Counter((event.span_id, event.type == "tool.started") for event in forest.events).values()) == {1}
    assert started.keys() == ended.keys() == forest.parents.keys()
    for name, event in started.items():
        assert (event.span_id, event.parent_id) == (ended[name].span_id, ended[name].parent_id)
    failed = {name for name, event in ended.items() if event.type == "tool.failed"}
    assert failed == {name for name, node in walk(tree) if node.fails}
    assert not forest.rec._desk.open
    assert current_scope() == EMPTY_SCOPE


@given(trees)
def test_operations_end_inside_their_parents(tree: Node) -> None:
    """A child's two events lie between those of its parent: last in, first out along each branch."""
    forest = Forest()
    asyncio.run(forest.run(tree))
    begun: dict[str, int] = {}
    ends: dict[str, int] = {}
    for index, event in enumerate(forest.events):
        (begun if event.type == "tool.started" else ends)[event.data["tool"]] = index
    for name, parent in forest.parents.items():
        assert begun[name] < ends[name]
        if parent:
            assert begun[parent] < begun[name]
            assert ends[name] < ends[parent]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=30,
)


@given(values)
def test_a_small_value_is_copied_whole(value: Any) -> None:
    """Below the bounds a snapshot equals its source and shares no container with it."""
    taken = snapshot(value)
    assert taken == value
    assert not containers(taken) & containers(value)


def containers(value: Any) -> set[int]:
    """The identities of all mutable containers in a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    own = {id(value)} if isinstance(value, dict | list) else set()
    return own.union(*map(containers, inner))


def walk(node: Node, name: str = "0") -> Generator[tuple[str, Node]]:
    yield name, node
    for number, child in enumerate(node.children):
        yield from walk(child, f"{name}.{number}")
