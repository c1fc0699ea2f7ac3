"""DisabledOperations: the same surface, nothing recorded."""

import asyncio
import inspect

import pytest

from sonde.context import current_scope
from sonde.instrument import DisabledOperations, Operation, Operations


@pytest.mark.parametrize("noun", ["session", "plan", "task", "tool", "model", "shell"])
def test_a_disabled_operation_accepts_everything(noun: str) -> None:
    """All forms of use work, decorators give the same function back, and no scope changes."""
    method = getattr(DisabledOperations(), noun)
    handle = method(tags=["x"]) if noun == "session" else method("x", plan_id="p", anything=1)

    def work() -> int:
        return 1

    assert method(work) is work
    assert handle(work) is work
    found = current_scope()
    with handle as op:
        op.set(result=1, self=2)
        op.fail("no")
        op.first_token()
        assert (op.span_id, op.trace_id, op.plan_id, op.task_id) == ("", "", "", "")
        assert current_scope() is found

    async def main() -> None:
        async with handle as op:
            op.set(a=1)

    asyncio.run(main())


def test_an_exception_passes_a_disabled_block() -> None:
    """Nothing is swallowed."""
    with pytest.raises(ValueError, match="boom"), DisabledOperations().tool("x"):
        raise ValueError("boom")


def test_the_disabled_surface_is_the_whole_surface() -> None:
    """Each public method of the working classes is replaced, so that none touches what isn't there."""
    from sonde.instrument.disabled_operation import DisabledOperation

    for working, disabled, kept in (
        (Operations, DisabledOperations, set()),
        (Operation, DisabledOperation, {"span_id", "trace_id", "plan_id", "task_id"}),
    ):
        public = {name for name, _ in inspect.getmembers(working) if not name.startswith("_")}
        assert public - kept <= vars(disabled).keys()
    assert DisabledOperations().current().span_id == ""
    DisabledOperations().adopt(DisabledOperations().current())
