"""Scope: where the program is, through tasks, threads, executors and generators."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sonde.context import EMPTY_SCOPE, Scope, current_scope, here, propagate, scope_in, set_scope
from sonde.hub import Hub

HERE = Scope(session_id="s-1", plan_id="p-1", task_id="t-1", trace_id="a" * 32, span_id="b" * 16)
THERE = Scope(session_id="s-2")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    yield
    set_scope(EMPTY_SCOPE)


def test_nothing_is_in_force_at_first() -> None:
    """A program that says nothing is in the empty scope."""
    assert contextvars.Context().run(current_scope) == EMPTY_SCOPE == Scope()


def test_scope_is_immutable() -> None:
    """A scope is shared between threads, so nobody changes it."""
    with pytest.raises(AttributeError):
        HERE.session_id = "other"  # type: ignore[misc]


def test_plain_threads_start_empty() -> None:
    """A thread does not inherit: the recorder's own session holds there."""
    set_scope(HERE)
    seen: list[Scope] = []
    thread = threading.Thread(target=lambda: seen.append(current_scope()))
    thread.start()
    thread.join()
    assert seen == [EMPTY_SCOPE]


def test_tasks_inherit_and_do_not_leak() -> None:
    """An asyncio task begins where it was made; what it sets stays in it."""

    async def main() -> tuple[Scope, Scope]:
        set_scope(HERE)

        async def child() -> Scope:
            found = current_scope()
            set_scope(THERE)
            return found

        return await asyncio.create_task(child()), current_scope()

    assert asyncio.run(main()) == (HERE, HERE)


def test_to_thread_keeps_the_scope() -> None:
    """``asyncio.to_thread`` carries the scope by itself."""

    async def main() -> Scope:
        set_scope(HERE)
        return await asyncio.to_thread(current_scope)

    assert asyncio.run(main()) == HERE


def test_propagate_binds_the_scope_of_now() -> None:
    """The bound function sees the scope of the moment it was bound, on any thread, and puts back what it found."""
    set_scope(HERE)
    bound = propagate(current_scope)
    set_scope(THERE)

    def on_worker() -> tuple[Scope, Scope]:
        return bound(), current_scope()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(on_worker).result() == (HERE, EMPTY_SCOPE)
    assert bound() == HERE
    assert current_scope() == THERE


def test_propagate_puts_back_after_an_exception() -> None:
    """An exception leaves no scope behind."""
    set_scope(HERE)

    @propagate
    def fail() -> None:
        set_scope(THERE)
        raise ValueError

    set_scope(THERE)
    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        fail()
    assert current_scope() == THERE


def test_propagate_is_shared_by_threads() -> None:
    """Many threads may call one bound function at once."""
    set_scope(HERE)
    gate = threading.Barrier(4)

    @propagate
    def meet(number: int) -> tuple[int, Scope]:
        gate.wait(10)
        return number, current_scope()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(meet, range(4))) == [(number, HERE) for number in range(4)]


def test_propagate_keeps_coroutine_functions() -> None:
    """A coroutine function stays one, and runs in the bound scope across its awaits."""
    set_scope(HERE)

    @propagate
    async def look(wanted: str) -> tuple[str, Scope]:
        await asyncio.sleep(0)
        return wanted, current_scope()

    set_scope(EMPTY_SCOPE)
    assert asyncio.iscoroutinefunction(look)

    async def main() -> tuple[tuple[str, Scope], Scope]:
        return await look("x"), current_scope()

    assert asyncio.run(main()) == (("x", HERE), EMPTY_SCOPE)


def test_propagate_keeps_name_and_arguments() -> None:
    """The bound function looks like the one it binds."""

    def area(width: int, *, height: int = 2) -> int:
        """Say how large."""
        return width * height

    bound = propagate(area)
    assert (bound.__name__, bound.__doc__) == ("area", "Say how large.")
    assert bound(3, height=4) == 12


def test_emit_takes_what_it_is_not_told_from_the_scope() -> None:
    """Session, plan, task, trace and parent come from the scope; an argument wins, and the empty one too."""
    with Hub(session_id="own") as hub, hub.subscribe() as subscription:
        hub.emit("no.scope")
        set_scope(HERE)
        hub.emit("in.scope")
        hub.emit("told", session_id="s-9", plan_id="", task_id="t-9")
        hub.flush()
        empty, inside, told = (subscription.get(timeout_s=10) for _ in range(3))
    assert empty is not None
    assert (empty.session_id, empty.plan_id, empty.task_id, empty.trace_id, empty.parent_id) == ("own", "", "", "", "")
    assert inside is not None
    assert (inside.session_id, inside.plan_id, inside.task_id) == ("s-1", "p-1", "t-1")
    assert (inside.trace_id, inside.span_id, inside.parent_id) == ("a" * 32, "", "b" * 16)
    assert told is not None
    assert (told.session_id, told.plan_id, told.task_id) == ("s-9", "", "t-9")


def test_a_scope_can_be_read_in_a_context_that_another_thread_is_in() -> None:
    """What a profiler needs: the scope in force in a context, read from outside while it is being run."""
    context, entered, leave = contextvars.copy_context(), threading.Event(), threading.Event()

    def inside() -> None:
        set_scope(HERE)
        entered.set()
        leave.wait()

    thread = threading.Thread(target=context.run, args=(inside,))
    thread.start()
    entered.wait()
    try:
        assert scope_in(context) == HERE
        assert scope_in(contextvars.copy_context()) == EMPTY_SCOPE
    finally:
        leave.set()
        thread.join()


def test_a_thread_mark_dies_with_its_thread() -> None:
    """Identifiers of threads are given anew; a mark is never another thread's."""
    marks = []

    def note() -> None:
        marks.append(here.mark)
        assert here.mark is marks[-1]
        assert here.mark.is_alive
        assert here.mark.ident == threading.get_ident()

    for _ in range(3):
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()
    assert [mark.is_alive for mark in marks] == [False] * 3
    assert len({id(mark) for mark in marks}) == 3
    assert here.mark.is_alive
