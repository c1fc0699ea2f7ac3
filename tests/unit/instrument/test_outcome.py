"""How operations end, and that the agent's own exceptions pass through."""

import asyncio
from typing import Any

import pytest

from sonde.events import Event
from sonde.instrument import Operations
from sonde.instrument.outcome import outcome_of


class MuteError(Exception):
    def __str__(self) -> str:
        raise LookupError("no words")


@pytest.mark.parametrize(
    ("error", "status", "facts"),
    [
        (ValueError("v"), "failed", {"error_type": "ValueError", "error": "v"}),
        (asyncio.CancelledError(), "cancelled", {"cancelled_by": "CancelledError"}),
        (GeneratorExit(), "cancelled", {"cancelled_by": "GeneratorExit"}),
        (KeyboardInterrupt(), "cancelled", {"cancelled_by": "KeyboardInterrupt"}),
        (SystemExit(), "completed", {}),
        (SystemExit(0), "completed", {}),
        (SystemExit(2), "failed", {"error_type": "SystemExit", "error": "exit status 2"}),
        (SystemExit("usage"), "failed", {"error_type": "SystemExit", "error": "usage"}),
        (TimeoutError(), "failed", {"error_type": "TimeoutError", "error": ""}),
        (
            asyncio.InvalidStateError("x"),
            "failed",
            {"error_type": "asyncio.exceptions.InvalidStateError", "error": "x"},
        ),
    ],
)
def test_an_exception_tells_the_outcome(error: BaseException, status: str, facts: dict[str, Any]) -> None:
    """Cancellations are no failures, and an exit without a status is a success."""
    assert outcome_of(error) == (status, facts)


def test_a_text_that_cannot_be_read_is_said() -> None:
    """An exception whose ``str`` raises is still recorded."""
    facts = outcome_of(MuteError()).facts
    assert facts["error_type"].endswith("MuteError")
    assert facts["error"] == "<MuteError without a text: its str() raised LookupError>"


def test_long_texts_are_bounded_and_say_their_size() -> None:
    """The first 8,000 characters stay, and the true size is said."""
    text = outcome_of(ValueError("x" * 100_000)).facts["error"]
    assert text == "x" * 8_000 + "… (100,000 characters in all)"


@pytest.mark.parametrize("error", [ValueError("v"), KeyboardInterrupt(), SystemExit(1), GeneratorExit(), MuteError()])
def test_the_same_exception_leaves_a_block_and_a_function(rec: Operations, error: BaseException) -> None:
    """The agent gets its own exception object, with one frame of ours at most."""

    @rec.tool
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as caught, rec.tool("x"):
        raise error
    assert caught.value is error
    error.__traceback__ = None
    with pytest.raises(type(error)) as caught:
        fails()
    assert caught.value is error
    assert error.__context__ is None
    assert len(list(caught.traceback)) == 3  # the test, the wrapper, the function


def test_an_exception_overrides_a_reported_failure(rec: Operations, events: list[Event]) -> None:
    """What leaves the block is the truth: a cancelled operation isn't a failed one."""

    async def main() -> None:
        async with rec.tool("x") as op:
            op.fail("gave up")
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert events[1].type == "tool.cancelled"
    assert "error" not in events[1].data


@pytest.mark.parametrize("at", [0, 1])
def test_a_publish_that_raises_is_logged_once(at: int, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of telemetry's own never reaches the agent, in a block or in a decorated function."""
    kept: list[Event] = []

    def publish(event: Event) -> None:
        if event.type.endswith("started") == (at == 0):
            raise RuntimeError("a bug")
        kept.append(event)

    rec = Operations(publish, session_id="s-1")

    @rec.tool
    def add(a: int, b: int) -> int:
        return a + b

    for _ in range(3):
        with rec.tool("x"):
            assert add(1, 2) == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "sonde could not" in caplog.text
    assert len(kept) == (0 if at == 0 else 6)


def test_an_interrupt_while_publishing_passes_and_closes(events: list[Event]) -> None:
    """Ctrl-C in the middle of a beginning is the agent's; the operation that began is ended and out of force."""
    interrupts = [KeyboardInterrupt()]

    def publish(event: Event) -> None:
        events.append(event)
        if interrupts:
            raise interrupts.pop()

    rec = Operations(publish, session_id="s-1")
    with pytest.raises(KeyboardInterrupt), rec.tool("x"):
        pass
    assert [event.type for event in events] == ["tool.started", "tool.cancelled"]
    assert events[0].span_id == events[1].span_id


def test_an_interrupt_at_the_end_still_ends_the_operation(events: list[Event]) -> None:
    """Ctrl-C while the end is made up is the agent's, and the operation has exactly one end."""

    class Interrupting:
        reads = 0

        def time_ns(self) -> int:
            return 1

        def monotonic_s(self) -> float:
            self.reads += 1
            if self.reads == 2:
                raise KeyboardInterrupt
            return 0.0

    rec = Operations(events.append, session_id="s-1", clock=Interrupting())
    with pytest.raises(KeyboardInterrupt), rec.tool("x"):
        pass
    assert [event.type for event in events] == ["tool.started", "tool.cancelled"]
