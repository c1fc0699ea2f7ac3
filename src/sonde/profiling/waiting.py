"""TaskCensus: where asyncio tasks wait, which no thread's stack shows."""

from __future__ import annotations

import gc
import random
import sys
import time
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

from sonde.profiling.correlation import Correlation
from sonde.profiling.profile import Profile, Sample, ValueType
from sonde.profiling.runners import context_of
from sonde.profiling.secrets import redact_labels
from sonde.profiling.table import StackTable
from sonde.profiling.walker import MAX_DEPTH, Walker

MAX_TASKS = 2_000
"""Tasks that one look walks. Of more than that it draws so many, and each stands for several."""

_CHAINED = (CoroutineType, GeneratorType, AsyncGeneratorType)
_ATTEMPTS = 10


class TaskCensus:
    """Counts where the suspended tasks of all event loops wait. For one thread at a time, beside the loops' own.

    Each costs some 5 µs. A task that is just running is left out: it does not wait.
    """

    busy_threads: int | None = None

    def __init__(self, walker: Walker, *, seed: int | None = None) -> None:
        self._walker = walker
        self._correlation = Correlation()
        self._random = random.Random(seed)  # noqa: S311 - where to look is no secret

    def look(self, table: StackTable, weight_ns: int) -> None:
        """Add all tasks that wait now."""
        tasks = all_tasks()
        if len(tasks) > MAX_TASKS:
            weight_ns = weight_ns * len(tasks) // MAX_TASKS
            tasks = self._random.sample(tasks, MAX_TASKS)
        self._correlation.begin()
        try:
            for task in tasks:
                frames = [] if task.done() else waiting_frames(task.get_coro())
                if frames:
                    context = context_of(task)
                    labels = self._correlation.labels_in(context)
                    stack = [self._walker.number_of(frame) for frame in reversed(frames[-MAX_DEPTH:])]
                    if len(frames) > MAX_DEPTH:
                        stack.append(0)
                    table.entry((tuple(stack), labels, "", ""))[1] += weight_ns
                    frames.clear()
        finally:
            self._correlation.end()
            del tasks

    def end(self) -> None:
        """Nothing is remembered."""


def waiting_profile() -> Profile:
    """Where each suspended asyncio task of this process waits now: its stack from its first function to the last await.

    Of all event loops, from any thread; the one value of a sample, ``tasks``, counts those that wait at the same place
    with the same labels (session, plan, task, operation, tool, span). Empty where asyncio is not loaded. Blocks, and
    holds the GIL, for some 5 µs a task.

    >>> waiting_profile().total("tasks")
    0
    """
    walker, table = Walker(), StackTable()
    TaskCensus(walker).look(table, 0)
    samples = [
        Sample(walker.stack_of(stack), (sums[0],), redact_labels(labels))
        for (stack, labels, _, _), sums in table.sums.items()
    ]
    return Profile(
        sample_types=(ValueType("tasks", "count"),),
        samples=tuple(samples),
        period_type=ValueType("tasks", "count"),
        period=1,
        time_ns=time.time_ns(),
        comments=("sonde: where suspended asyncio tasks wait, at one moment",),
    )


def all_tasks() -> list[Any]:
    """The tasks of all loops, without asking each loop, which only its own thread may."""
    module = sys.modules.get("asyncio.tasks")
    found: list[Any] = []
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):  # 3.11; 3.12 and later
        tasks = getattr(module, name, ())
        for _ in range(_ATTEMPTS):
            try:
                found += list(tasks)
                break
            except RuntimeError:  # it changed meanwhile: asyncio itself tries again, too
                continue
    return found


def waiting_frames(coroutine: Any) -> list[FrameType]:
    """The frames of a suspended coroutine and of what it awaits, outermost first; none if it is running or done."""
    frames: list[FrameType] = []
    one = coroutine
    while one is not None and len(frames) < 10 * MAX_DEPTH:
        for prefix, inner in (("cr_", "cr_await"), ("gi_", "gi_yieldfrom"), ("ag_", "ag_await")):
            if hasattr(type(one), inner):  # asked of the type: an awaitable of the program's own may run code to answer
                if getattr(one, prefix + "running") and prefix != "ag_":
                    return []
                frame = getattr(one, prefix + "frame")
                if frame is not None:
                    frames.append(frame)
                one = getattr(one, inner)
                break
        else:  # the step of an async generator, or a wrapper of a coroutine: what it refers to goes on
            one = next((found for found in gc.get_referents(one) if isinstance(found, _CHAINED)), None)
    return frames
