"""Content switches: what is off leaves a name and nothing else."""

from typing import Any

import pytest

from sonde.events import Event
from sonde.instrument import ContentCapture, Operations

SECRET = "s3cret"


def record(capture: ContentCapture) -> list[Event]:
    """One operation of each sort, with a secret wherever content can be."""
    events: list[Event] = []
    rec = Operations(events.append, session_id="s-1", capture=capture)

    @rec.tool("decorated", fixed=SECRET)
    def call(argument: str) -> str:
        return argument

    early = rec.model("m")
    early.set(messages=[SECRET])
    with early as op:
        op.set(answer=SECRET, input_tokens=1)
    with rec.model("m", provider="p", prompt=SECRET, headers={"authorization": SECRET}) as op:
        op.set(answer=SECRET, raw_response=SECRET, output_tokens=2)
    with rec.tool("t", path=SECRET) as op:
        op.set(result=SECRET, output=SECRET)
    call(SECRET)
    for command in (f"TOKEN={SECRET} git clone {SECRET}", ["git", SECRET]):
        with rec.shell(command) as op:
            op.set(stdout=SECRET, stderr=SECRET, exit_code=0)
    return events


def names_with_secret(events: list[Event]) -> set[str]:
    return {key for event in events for key, value in event.data.items() if SECRET in repr(value)}


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ({}, {"messages", "answer", "prompt", "headers", "raw_response", "args", "result", "output", "command"}),
        ({"prompts": False}, {"headers", "raw_response", "args", "result", "command"}),
        ({"tools": False}, {"messages", "answer", "prompt", "headers", "raw_response"}),
        ({"raw_bodies": False}, {"messages", "answer", "prompt", "args", "result", "output", "command"}),
    ],
    ids=str,
)
def test_a_switch_withholds_its_content(off: dict[str, bool], left: set[str]) -> None:
    """Each switch removes its own keys from all events, the rest stays."""
    found = names_with_secret(record(ContentCapture(**off)))
    output = {"stdout", "stderr"} if off.get("tools", True) else set()
    assert found == left | output


def test_all_off_leaves_no_content_but_the_figures() -> None:
    """With all switches off no secret is in any event; names, tokens and statuses are, and the withheld is named."""
    events = record(ContentCapture(prompts=False, tools=False, raw_bodies=False))
    assert names_with_secret(events) == set()
    by_type: dict[str, dict[str, Any]] = {event.type: event.data for event in events}
    assert events[0].data == {"model": "m", "$withheld": ["messages"]}
    assert events[2].data["$withheld"] == ["headers", "prompt"]
    assert events[3].data["$withheld"] == ["answer", "raw_response"]
    assert by_type["model.completed"]["output_tokens"] == 2
    assert by_type["tool.started"]["$withheld"] == ["args"]
    assert by_type["shell.started"] == {"command": "git", "$withheld": ["command arguments"]}
    assert by_type["shell.completed"]["$withheld"] == ["stderr", "stdout", "command arguments"]


def test_a_program_that_cannot_be_told_is_left_out() -> None:
    """A command of an unknown shape shows nothing."""
    assert ContentCapture(tools=False).withhold({"command": {"run": SECRET}})["command"] == ""
    assert ContentCapture(tools=False).withhold({"command": "ls"}) == {"command": "ls"}
