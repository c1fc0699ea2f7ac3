"""Decorator: one operation for each call of a function, whatever sort of function it is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Protocol

from sonde.context import Scope, current_scope, set_scope
from sonde.instrument.fault import report_fault, warn_once

_RECEIVERS = ("self", "cls", "mcs")


class Layout:
    """The names of a function's positional parameters, read once: ``Signature.bind`` at each call costs some 5 µs.

    ``self`` and ``cls`` are left out. Values are named as the caller gave them; defaults that were not given are not.
    """

    __slots__ = ("_names", "_rest", "_skip")

    def __init__(self, function: Any) -> None:
        self._names: tuple[str, ...] = ()
        self._rest = "args"
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except Exception:  # noqa: BLE001 - builtins have none, and __signature__ may be the agent's own
            parameters = []
        self._skip = 1 if parameters and parameters[0].name in _RECEIVERS else 0
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._names = tuple(one.name for one in parameters[self._skip :] if one.kind in positional)
        self._rest = next((one.name for one in parameters if one.kind is inspect.Parameter.VAR_POSITIONAL), "args")

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a call was given, by name, in a new dict."""
        if self._skip:
            args = args[1:]
        given = dict(zip(self._names, args, strict=False))
        if len(args) > len(self._names):
            given[self._rest] = list(args[len(self._names) :])
        given.update(kwargs)
        return given


class Opened(Protocol):
    """The side of an operation that decorators see."""

    def __enter__(self) -> Any: ...
    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def _for_call(self, layout: Layout, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Opened: ...
    def _keep_result(self, result: Any) -> None: ...
    def _first_item(self) -> None: ...
    def _begin(self, found: Scope) -> Scope: ...
    def _end(self, error: BaseException | None) -> None: ...


def decorate(function: Any, template: Opened) -> Any:
    """``function``, recorded, with the same signature; a coroutine function or generator function stays one.

    What is not callable is given back as it is, with a warning in the log.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorate(function.__func__, template))
    if not callable(function):
        warn_once("decorated", f"cannot record {type(function).__name__} {repr(function)[:80]}: expected a function")
        return function
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, template)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, template)
    elif inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004 - inspects it
        wrapper = _coroutine(function, template)
    else:
        wrapper = _function(function, template)
    return functools.wraps(function)(wrapper)


def name_of(function: Any) -> str:
    """What a bare decorator calls the operation: the function's name."""
    try:
        name = getattr(getattr(function, "func", function), "__name__", None) or type(function).__name__
        return name if isinstance(name, str) else type(function).__name__
    except Exception:  # noqa: BLE001 - the agent's own __getattr__
        report_fault("read the name of a function")
        return "function"


def _function(function: Callable[..., Any], template: Opened) -> Callable[..., Any]:
    layout = Layout(function)
    opened = template._for_call

    def recorded(*args: Any, **kwargs: Any) -> Any:
        operation = opened(layout, args, kwargs)
        operation.__enter__()
        try:
            result = function(*args, **kwargs)
            operation._keep_result(result)
            operation.__exit__(None, None, None)
        except BaseException as error:  # the function's, or a signal handler's: leaving twice does no harm
            operation.__exit__(None, error, None)
            raise
        return result

    return recorded


def _coroutine(function: Callable[..., Any], template: Opened) -> Callable[..., Any]:
    layout = Layout(function)
    opened = template._for_call

    async def recorded(*args: Any, **kwargs: Any) -> Any:
        operation = opened(layout, args, kwargs)
        operation.__enter__()
        try:
            result = await function(*args, **kwargs)
            operation._keep_result(result)
            operation.__exit__(None, None, None)
        except BaseException as error:  # the function's, or a signal handler's: leaving twice does no harm
            operation.__exit__(None, error, None)
            raise
        return result

    return recorded


# A generator runs in its consumer's context, so its scope is put in force at each step and taken out at each yield.
# What the generator itself left in force (a ``with`` block around a ``yield``) is its own again at the next step.
# Whatever the consumer sends or throws goes through, GeneratorExit too: a generator that answers it with a value, as it
# should not, is then told so by Python, as without us.


def _generator(function: Callable[..., Any], template: Opened) -> Callable[..., Any]:
    layout = Layout(function)
    opened = template._for_call

    def recorded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        operation = opened(layout, args, kwargs)
        outside = current_scope()
        closing: BaseException | None = None
        started = False
        try:
            set_scope(operation._begin(outside))
            steps = function(*args, **kwargs)
            step, value = steps.send, None
            while True:
                try:
                    item = step(value)
                except StopIteration as stop:
                    result = stop.value
                    break
                if not started:
                    started = True
                    operation._first_item()
                inside = current_scope()
                set_scope(outside)
                try:
                    value = yield item
                    step = steps.send
                except BaseException as thrown:  # noqa: BLE001 - given to the generator, which raises it again
                    closing = thrown if isinstance(thrown, GeneratorExit) else None
                    step, value = steps.throw, thrown
                finally:
                    outside = current_scope()
                    set_scope(inside)
            set_scope(outside)
            if result is not None:
                operation._keep_result(result)
            operation._end(closing)
            return result
        except BaseException as error:
            set_scope(outside)
            operation._end(error)
            raise
        finally:
            closing = value = None  # an exception that its own traceback's frame holds is a cycle

    return recorded


def _async_generator(function: Callable[..., Any], template: Opened) -> Callable[..., Any]:
    layout = Layout(function)
    opened = template._for_call

    async def recorded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        operation = opened(layout, args, kwargs)
        outside = current_scope()
        closing: BaseException | None = None
        started = False
        try:
            set_scope(operation._begin(outside))
            steps = function(*args, **kwargs)
            step, value = steps.asend, None
            while True:
                try:
                    item = await step(value)
                except StopAsyncIteration:
                    break
                if not started:
                    started = True
                    operation._first_item()
                inside = current_scope()
                set_scope(outside)
                try:
                    value = yield item
                    step = steps.asend
                except BaseException as thrown:  # noqa: BLE001 - given to the generator, which raises it again
                    closing = thrown if isinstance(thrown, GeneratorExit) else None
                    step, value = steps.athrow, thrown
                finally:
                    outside = current_scope()
                    set_scope(inside)
            set_scope(outside)
            operation._end(closing)
        except BaseException as error:
            set_scope(outside)
            operation._end(error)
            raise
        finally:
            closing = value = None

    return recorded
