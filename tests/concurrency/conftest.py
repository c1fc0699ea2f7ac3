"""What tests of interrupts share."""

import dis
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType
from typing import Any

import pytest

import sonde

SOURCE = os.path.dirname(sonde.__file__) + os.sep

# After these the interpreter looks whether a signal came; in between nothing can strike.
CHECKED = {"RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}


@cache
def handlers(code: CodeType) -> list[tuple[int, int, int]]:
    """Where each stretch of a function's code begins and ends that a handler is for, and where that is."""
    return [(entry.start, entry.end, entry.target) for entry in dis.Bytecode(code).exception_entries]  # type: ignore[attr-defined]


def is_checked(code: CodeType, before: int, now: int) -> bool:
    """Whether a signal that is seen after the opcode at ``before`` may be let strike at that at ``now``.

    The interpreter counts it to the former, a trace function cannot: so not where another handler begins or ends
    between them.
    """

    def target(place: int) -> int | None:
        return next((target for start, end, target in handlers(code) if start <= place < end), None)

    return dis.opname[code.co_code[before]] in CHECKED and target(before) == target(now)


def strike_at(act: Callable[[], object], step: int, *, everywhere: bool) -> bool:
    """Run ``act`` with an interrupt at its ``step``-th place in sonde's code. Whether there were so many.

    Places are all opcodes, or only those at which CPython would let a signal handler run. On a thread of its own: an
    exception that a trace function raises where a handler ends leaves the handled one in force on the thread for good.
    """
    left = step
    outcome: list[BaseException | None] = []
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, last[frame] = last.get(frame), frame.f_lasti
            if everywhere or (before is not None and is_checked(frame.f_code, before, frame.f_lasti)):
                left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    def run() -> None:
        sys.settrace(trace)
        try:
            act()
            outcome.append(None)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            outcome.append(error)
        finally:
            sys.settrace(None)
            last.clear()  # else the frames live on in a circle, with all that they hold

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if outcome[0] is None:
        return False
    if isinstance(outcome[0], KeyboardInterrupt):
        return True
    raise outcome[0]


@pytest.fixture(name="strike_at")
def _strike_at() -> Callable[..., bool]:
    """:func:`strike_at`, for tests: they are no package that could be imported from."""
    return strike_at
