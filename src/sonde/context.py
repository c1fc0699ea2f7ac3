"""Where the program is right now: session, plan, task and operation, carried by ``contextvars``.

One immutable :class:`Scope` in one context variable. ``asyncio`` tasks inherit it; a plain thread starts with the
empty scope, and then the recorder's own session is used. Nothing here resets tokens: a block puts back the scope that
it found, so a generator that is closed from another context cannot raise.

A profiler looks from its own thread, where other threads' context variables are out of reach. What it needs to find
out is at the end of this file; it costs an operation some 50 ns and an event nothing.
"""

from __future__ import annotations

import functools
import inspect
from _thread import _local, get_ident
from collections.abc import Callable
from contextvars import Context, ContextVar, Token
from typing import Any, ParamSpec, Protocol, TypeVar, cast
from weakref import ref

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


set_scope: Callable[[Scope], Token[Scope]] = _current.set
"""Put a scope in force in this context, until another is set. The token is not for a reset, but tells the context."""


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Bind ``function`` to the scope in force now, for a thread or an executor that would lose it.

    What the function records is a child of the operation in which ``propagate`` was called. The result may be called
    many times and from many threads at once. Coroutine functions stay coroutine functions.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> _ = set_scope(Scope(session_id="s-1"))
    >>> with ThreadPoolExecutor() as pool:
    ...     pool.submit(propagate(lambda: current_scope().session_id)).result()
    's-1'
    >>> _ = set_scope(EMPTY_SCOPE)
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


def scope_in(context: Context) -> Scope:
    """The scope in force in a context, wherever that is being run. Safe in any thread.

    >>> from contextvars import copy_context
    >>> scope_in(copy_context()) == current_scope()
    True
    """
    return context.get(_current, EMPTY_SCOPE)


class ThreadMark:
    """Stands for one thread. Identifiers are given anew when a thread has ended; this never is.

    >>> here.mark.is_alive, here.mark.ident == get_ident()
    (True, True)
    """

    __slots__ = ("_witness", "ident")

    def __init__(self, ident: int, witness: _Witness) -> None:
        self.ident = ident
        self._witness = ref(witness)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._witness() is not None


class _Witness:
    """Held by nothing but its thread's own storage, so it goes when the thread ends."""

    __slots__ = ("__weakref__",)


class _Here(_local):
    mark = ThreadMark(0, _Witness())  # nobody's: for a signal handler that comes in while a thread's own is being made

    def __init__(self) -> None:
        self._witness = _Witness()
        self.mark = ThreadMark(get_ident(), self._witness)


here = _Here()
"""``here.mark`` is the mark of the thread that asks: some 40 ns."""

Place = tuple[ThreadMark, Token[Scope]]
"""Where an operation was entered: in which thread, and in which context, which the token tells."""


class OpenOperations(Protocol):
    """What a profiler asks of a recorder about the operations that are open now, from any thread."""

    @property
    def session_id(self) -> str:
        """The session of what happens where the scope names none."""
        ...

    def places(self) -> list[Place]:
        """Where those were entered that are not steps of a generator, in the order of their beginning."""
        ...

    def describe(self, span_id: str, /) -> tuple[str, object, str] | None:
        """Its noun, its subject and its parent's span id; ``None`` if no such operation is open."""
        ...


_recorders: list[ref[OpenOperations]] = []


def announce_operations(operations: OpenOperations) -> None:
    """Let profilers ask it, as long as it lives."""
    _recorders[:] = [*(known for known in _recorders if known() is not None), ref(operations)]


def open_operations() -> list[OpenOperations]:
    """All that were announced and live."""
    return [operations for operations in [known() for known in tuple(_recorders)] if operations is not None]
