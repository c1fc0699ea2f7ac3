"""Runners: frames that show in which context the code above them runs, such as those of event loops and executors.

``Context.run`` leaves no trace that another thread could see, so a sampler recognises those who call it. What is found
is exact; what runs code in another context and is not known here is not seen (see the guide on profiling).
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from contextvars import Context
from types import BuiltinMethodType, FrameType
from typing import Any

from sonde.context import Scope


class NotSure:
    """This code switches contexts, and into which cannot be told."""


NOT_SURE = NotSure()

Evidence = Context | Scope | NotSure
"""The context that a frame puts in force, or the scope."""

Finder = Callable[[FrameType, FrameType | None], Evidence | None]
"""Takes a frame and the one that it called; ``None``: this frame switches nothing, look further out."""


def _of_handle(frame: FrameType, _inner: FrameType | None) -> Evidence:
    handle = frame.f_locals["self"]
    if sys.version_info >= (3, 12):  # an eager task runs inside the handle of the one that made it
        task = sys.modules["asyncio"].current_task(handle._loop)
        if task is not None:
            return context_of(task) or NOT_SURE
    context = handle._context
    return context if isinstance(context, Context) else NOT_SURE


def _of_work_item(frame: FrameType, _inner: FrameType | None) -> Evidence | None:
    item = frame.f_locals["self"]
    return _run_by(item.fn if hasattr(item, "fn") else item.task[0])


def _of_thread(frame: FrameType, _inner: FrameType | None) -> Evidence | None:
    return _run_by(getattr(frame.f_locals["self"], "_target", None))


def _of_anyio_worker(frame: FrameType, inner: FrameType | None) -> Evidence:
    if inner is None or inner.f_globals.get("__name__") in ("queue", "threading"):
        return NOT_SURE  # it waits for work
    context = frame.f_locals.get("context")
    return context if isinstance(context, Context) else NOT_SURE


def _of_propagated(frame: FrameType, _inner: FrameType | None) -> Evidence | None:
    scope = frame.f_locals.get("scope")
    return scope if isinstance(scope, Scope) else None


def _of_generator(frame: FrameType, _inner: FrameType | None) -> Evidence | None:
    operation = frame.f_locals.get("operation")
    scope = getattr(operation, "_scope", None)
    return scope if isinstance(scope, Scope) else None


def _of_loop(frame: FrameType, inner: FrameType | None) -> Evidence:
    """A loop without Python frames of its own, or one between two callbacks: a task that runs shows its frame."""
    loops = sys.modules.get("asyncio.tasks")
    running = list(getattr(loops, "_current_tasks", {}).values())
    if running and inner is not None:
        for task in running:
            coroutine = task.get_coro()
            outermost = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
            if outermost is inner:
                return context_of(task) or NOT_SURE
    return NOT_SURE


def _unknown(_frame: FrameType, _inner: FrameType | None) -> Evidence:
    return NOT_SURE


_FINDERS: dict[tuple[str, str], Finder] = {
    ("asyncio.events", "Handle._run"): _of_handle,
    ("asyncio.base_events", "BaseEventLoop.run_forever"): _of_loop,
    ("asyncio.base_events", "BaseEventLoop.run_until_complete"): _of_loop,
    ("asyncio.runners", "Runner.run"): _of_loop,
    ("concurrent.futures.thread", "_WorkItem.run"): _of_work_item,
    ("threading", "Thread.run"): _of_thread,
    ("anyio._backends._asyncio", "WorkerThread.run"): _of_anyio_worker,
    ("trio._core._run", "unrolled_run"): _unknown,
    ("sonde.context", "propagate.<locals>.bound"): _of_propagated,
    ("sonde.instrument.decorator", "_generator.<locals>.recorded"): _of_generator,
}


def finder_of(frame: FrameType) -> Finder | None:
    """What to ask about frames of this code; ``None`` for nearly all."""
    module = dict.get(frame.f_globals, "__name__")  # they may be of a class of the program's own: run nothing of it
    return _FINDERS.get((module, frame.f_code.co_qualname)) if type(module) is str else None


def context_of(task: Any) -> Context | None:
    """The context that an asyncio task runs in, from any thread; ``None`` where it cannot be told."""
    if hasattr(task, "get_context"):  # 3.12 and later
        context = task.get_context()
    elif hasattr(task, "_context"):  # a task written in Python
        context = task._context
    else:
        # Of a C task of 3.11 its context is the first that it refers to; those of its callbacks follow.
        context = next((one for one in gc.get_referents(task) if type(one) is Context), None)
    return context if isinstance(context, Context) else None


def _run_by(function: object) -> Context | None:
    """The context whose ``run`` is called: ``context.run``, or a partial of it, as ``asyncio.to_thread`` makes it."""
    while isinstance(function, functools.partial):
        function = function.func
    if type(function) is BuiltinMethodType and function.__name__ == "run":
        owner = function.__self__
        return owner if isinstance(owner, Context) else None
    return None
