"""Where the program is right now: session, plan, task and operation, carried by ``contextvars``.

One immutable :class:`Scope` in one context variable. ``asyncio`` tasks inherit it; a plain thread starts with the
empty scope, and then the recorder's own session is used. Nothing here resets tokens: a block puts back the scope that
it found, so a generator that is closed from another context cannot raise.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

P = ParamSpec("P")
R = TypeVar("R")


class Scope(msgspec.Struct, frozen=True, gc=False):
    """What an event that is emitted here belongs to. Immutable, safe to share between threads.

    ``trace_id`` is 32 hex digits and ``span_id`` 16 (W3C Trace Context), both empty outside any operation; ``span_id``
    becomes the ``parent_id`` of what happens inside.
    """

    session_id: str = ""
    plan_id: str = ""
    task_id: str = ""
    trace_id: str = ""
    span_id: str = ""


EMPTY_SCOPE = Scope()

_current: ContextVar[Scope] = ContextVar("sonde_scope", default=EMPTY_SCOPE)

current_scope = _current.get
"""The scope in force here. Costs some 30 ns, never blocks, never raises."""


def set_scope(scope: Scope) -> None:
    """Put ``scope`` in force in this context, until another is set."""
    _current.set(scope)


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Bind ``function`` to the scope in force now, for a thread or an executor that would lose it.

    What the function records is a child of the operation in which ``propagate`` was called. The result may be called
    many times and from many threads at once. Coroutine functions stay coroutine functions.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> set_scope(Scope(session_id="s-1"))
    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(propagate(lambda: current_scope().session_id)).result()
    's-1'
    >>> set_scope(EMPTY_SCOPE)
    """
    scope = _current.get()

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def bound_async(*args: Any, **kwargs: Any) -> Any:
            found = _current.get()
            _current.set(scope)
            try:
                return await function(*args, **kwargs)
            finally:
                _current.set(found)

        return cast("Callable[P, R]", bound_async)

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        found = _current.get()
        _current.set(scope)
        try:
            return function(*args, **kwargs)
        finally:
            _current.set(found)

    return bound
