"""The parts of the sampler: walker, table, governor, runners, waiting tasks."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import sonde
from sonde.context import Scope, propagate, scope_in, set_scope
from sonde.errors import ConfigError, ProfileError
from sonde.profiling import Sampler, waiting_profile
from sonde.profiling.governor import Governor
from sonde.profiling.profile import labels_of
from sonde.profiling.runners import NOT_SURE, context_of
from sonde.profiling.switching import SwitchInterval
from sonde.profiling.table import MORE_STACKS, StackTable
from sonde.profiling.walker import CUT, MAX_DEPTH, Walker

HERE = Scope(session_id="s-1", span_id="b" * 16)


def test_a_stack_is_innermost_first_with_qualified_names() -> None:
    """A frame has its qualified name, file, line and first line; the same line has the same number."""
    walker = Walker()

    def inner() -> tuple[int, ...]:
        return walker.walk(sys._getframe()).stack

    stack = inner()
    leaf, caller = walker.stack_of(stack)[:2]
    code = inner.__code__
    assert leaf.function.endswith("with_qualified_names.<locals>.inner")
    assert (leaf.file, leaf.line, leaf.first_line) == (__file__, code.co_firstlineno + 1, code.co_firstlineno)
    assert caller.function == "test_a_stack_is_innermost_first_with_qualified_names"
    assert inner()[0] == stack[0]


def test_a_deep_stack_is_cut_at_its_root() -> None:
    """256 frames are kept, and one says that there were more."""
    walker = Walker()

    def recurse(depth: int) -> tuple[int, ...]:
        return recurse(depth - 1) if depth else walker.walk(sys._getframe()).stack

    stack = walker.stack_of(recurse(400))
    assert len(stack) == MAX_DEPTH + 1
    assert stack[-1] == CUT
    assert stack[0].function.endswith("recurse")


def test_a_full_table_drops_span_ids_first_and_then_stacks() -> None:
    """Past half of the bound entries come without span, past it all goes to one entry; both are counted, none lost."""
    table = StackTable(max_stacks=10)
    for number in range(30):
        table.entry(((number % 15,), labels_of({"tool": "grep", "span": f"{number:016x}"}), "t", ""))
    assert len(table.sums) == 11
    assert sum(sums[0] for sums in table.sums.values()) == 30
    assert table.sums[MORE_STACKS][0] == table.without_stack > 0
    assert table.without_span == 25
    assert sum("span" in dict(labels) for _, labels, _, _ in table.sums) == 5


def test_the_governor_stretches_what_is_dear_and_comes_back() -> None:
    """Dear looks lengthen the interval until the cost is within the bound; when they are cheap again, so is it."""
    governor = Governor(hz=100, cpu_ratio=0.01)
    assert governor.interval_s == 0.01
    for _ in range(500):
        governor.learn(cpu_s=0.002, elapsed_s=governor.interval_s)
    assert governor.interval_s >= 0.2
    assert governor.cpu_s / governor.elapsed_s <= 0.0125
    for _ in range(2000):
        governor.learn(cpu_s=0.00001, elapsed_s=governor.interval_s)
    assert governor.interval_s == 0.01
    assert governor.cpu_s / governor.elapsed_s <= 0.01


def test_the_switch_interval_is_short_for_one_busy_thread_and_put_back() -> None:
    """Two busy threads, or the end, bring back what was found; a change by others stays."""
    found_s = sys.getswitchinterval()
    switching = SwitchInterval(0.0005)
    try:
        switching.adapt(1)
        assert sys.getswitchinterval() == pytest.approx(0.0005)
        switching.adapt(2)
        assert sys.getswitchinterval() == found_s
        switching.adapt(0)
        sys.setswitchinterval(0.002)
        switching.restore()
        assert sys.getswitchinterval() == pytest.approx(0.002)
    finally:
        sys.setswitchinterval(found_s)


def test_runners_show_the_context_that_they_run() -> None:
    """Executors and threads that call ``Context.run``, callbacks of a loop, and ``propagate`` are recognised."""
    walker, found = Walker(), []

    def look() -> None:
        found.append(walker.walk(sys._getframe()).evidence)

    set_scope(HERE)
    context = contextvars.copy_context()
    bound = propagate(look)
    set_scope(Scope())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(context.run, look).result()
        pool.submit(bound).result()
        pool.submit(look).result()
    thread = threading.Thread(target=context.run, args=(look,))
    thread.start()
    thread.join()

    async def main() -> None:
        set_scope(HERE)
        await asyncio.to_thread(look)
        look()

    asyncio.run(main())
    assert found[0] is context
    assert found[1] == HERE
    assert found[2] is None
    assert found[3] is context
    assert [scope_in(one) for one in found[4:]] == [HERE, HERE]


def test_a_loop_between_two_callbacks_is_not_sure() -> None:
    """What a loop does for itself belongs to no task, and what was open around it is not taken for it."""
    walker, found = Walker(), []
    loop = asyncio.new_event_loop()
    turn = loop._run_once  # type: ignore[attr-defined]

    def run_once() -> None:
        found.append(walker.walk(sys._getframe()).evidence)
        turn()

    loop._run_once = run_once  # type: ignore[attr-defined]
    try:
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
    assert set(found) == {NOT_SURE}


def test_the_context_of_a_task_is_its_own_and_not_its_callbacks() -> None:
    """On 3.11 it is found among what the task refers to, where contexts of callbacks are too."""

    async def main() -> None:
        gate = asyncio.Event()

        async def wait() -> None:
            set_scope(HERE)
            await gate.wait()

        task = asyncio.create_task(wait())
        task.add_done_callback(lambda _: None, context=contextvars.Context())
        await asyncio.sleep(0)
        context = context_of(task)
        assert context is not None
        assert scope_in(context) == HERE
        gate.set()
        await task

    asyncio.run(main())


def test_waiting_tasks_are_seen_with_what_they_await() -> None:
    """A suspended task shows its coroutines and async generators down to the last await, with labels of its own."""

    async def items(gate: asyncio.Event) -> AsyncIterator[int]:
        await gate.wait()
        yield 1

    async def consume(gate: asyncio.Event) -> None:
        set_scope(HERE)
        async for _ in items(gate):
            pass

    async def main() -> None:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(consume(gate)) for _ in range(3)]
        await asyncio.sleep(0)
        profile = waiting_profile()
        gate.set()
        await asyncio.gather(*tasks)
        (sample,) = [one for one in profile.samples if dict(one.labels).get("span") == HERE.span_id]
        names = [frame.function.rpartition(".")[2] for frame in sample.stack]
        assert names == ["wait", "items", "consume"]
        assert sample.values == (3,)
        assert dict(sample.labels)["session"] == "s-1"

    asyncio.run(main())


def test_sampling_keeps_no_frame_alive() -> None:
    """What a thread's frames held goes when the thread ends, while the sampler runs on."""

    class Held:
        pass

    begun, go = threading.Event(), threading.Event()
    references: list[weakref.ref[Held]] = []

    def hold() -> None:
        held = Held()
        references.append(weakref.ref(held))
        begun.set()
        go.wait()

    sampler = Sampler(hz=1000, cpu_ratio=1)
    thread = threading.Thread(target=hold)
    gc.disable()
    try:
        sampler.start()
        thread.start()
        begun.wait()
        deadline_s = time.monotonic() + 20
        while sampler.take().total("samples") == 0 and time.monotonic() < deadline_s:
            pass
        go.set()
        thread.join()
        sampler.stop()
        assert references[0]() is None
    finally:
        gc.enable()
        go.set()


def test_a_failing_look_is_counted_and_the_sampler_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that goes wrong in the sampler's thread reaches the program."""
    sampler = Sampler(hz=1000, cpu_ratio=1)
    monkeypatch.setattr(sampler._census, "look", lambda table, weight_ns: 1 / 0)
    sampler._look(sampler._census, 1)
    assert sampler.finish()[1].failures == 1


@pytest.mark.parametrize(("options", "why"), [({"hz": 0}, "0 Hz"), ({"hz": 10**6}, "Hz"), ({"mode": "gpu"}, "'gpu'")])
def test_what_cannot_work_is_refused(options: dict[str, object], why: str) -> None:
    """The message names the value."""
    with pytest.raises(ConfigError, match=why):
        Sampler(**options)  # type: ignore[arg-type]


def test_free_threaded_builds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the GIL another thread's frames cannot be read; the message says what to do."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(ProfileError, match=r"free-threaded Python.*py-spy"):
        Sampler()


def test_secrets_in_names_do_not_reach_a_profile() -> None:
    """A task's title is the agent's own words; of a shell command only the program's name is kept."""
    with sonde.record(":memory:", session_id="s-1") as rec:
        sampler = Sampler(hz=1000, cpu_ratio=1, own_threads=True)
        sampler.start()
        for block in (rec.task("clone https://bob:hunter2@example.org/x"), rec.shell("curl -H hunter3")):
            with block:
                deadline_s = time.monotonic() + 0.2
                while time.monotonic() < deadline_s:
                    pass
        operations = {dict(one.labels)["operation"] for one in sampler.stop().samples}
    assert {"task clone https://bob:[REDACTED:password]@example.org/x", "shell curl"} <= operations
