"""Ctrl-C at any moment: the exception is the agent's, and operations keep their balance."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest

from sonde.context import EMPTY_SCOPE, current_scope, set_scope
from sonde.events import Event
from sonde.instrument import Operations


def interrupt_at(step: int, run: Any) -> bool:
    """Call ``run`` and raise ``KeyboardInterrupt`` as the ``step``-th call of a function of ours begins.

    There, at calls into C and at jumps back is where Python runs signal handlers.
    """
    left = step

    def trace(frame: FrameType, kind: str, _: object) -> Any:
        nonlocal left
        if "sonde/instrument" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        if kind == "call":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return None

    found = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(found)
    return False


@pytest.mark.parametrize("form", ["with", "function", "generator"])
def test_an_interrupt_at_any_call_leaves_a_balance(form: str) -> None:
    """What began has exactly one end, nothing else is raised, no scope is left in force.

    But where it hits as ``__exit__`` itself begins: a ``with`` block has no way to guard that moment.
    """
    interrupted, unbalanced = 0, 0
    for step in range(1, 1_000):
        events: list[Event] = []
        rec = Operations(events.append, session_id="s-1")

        @rec.tool
        def function() -> None: ...

        @rec.tool
        def generator() -> Any:
            yield

        def run(rec: Operations = rec, function: Any = function, generator: Any = generator) -> None:
            if form == "with":
                with rec.tool("x"):
                    pass
            elif form == "function":
                function()
            else:
                list(generator())

        if not interrupt_at(step, run):
            break
        interrupted += 1
        started = Counter(event.span_id for event in events if event.type == "tool.started")
        ended = Counter(event.span_id for event in events if event.type != "tool.started")
        assert not ended.keys() - started.keys()
        assert max(ended.values(), default=0) <= 1
        unbalanced += started != ended or current_scope() != EMPTY_SCOPE or bool(rec._desk.open)
        set_scope(EMPTY_SCOPE)
    assert interrupted > 10
    assert unbalanced <= (1 if form == "with" else 0)  # between entering and the block, at some steps
