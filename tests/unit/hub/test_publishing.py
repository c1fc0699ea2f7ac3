"""publish and emit: what an event becomes, and that nothing a caller hands over makes them raise."""

import time
import uuid
from collections import UserDict
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest

from sonde.clock import ManualClock
from sonde.events import Event, EventType, PublishedEvent
from sonde.hub import Hub


def published(act: Callable[[Hub], object], **options: Any) -> list[PublishedEvent]:
    """What a subscriber gets of what ``act`` publishes."""
    with Hub(**options) as hub:
        subscription = hub.subscribe()
        act(hub)
        hub.close()
        return list(subscription)


class RaisingMapping(UserDict[str, Any]):
    """A mapping that no one can read."""

    def __iter__(self) -> Iterator[str]:
        raise ZeroDivisionError


class HostileText(str):
    """A string whose every method is a trap."""

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __str__(self) -> str:
        raise ZeroDivisionError


class Textless:
    """An id that has no text, and no class either."""

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError

    def __str__(self) -> str:
        raise ZeroDivisionError


class HostileEvent(Event, frozen=True):
    """An event whose fields aren't what they say."""

    def __getattribute__(self, name: str) -> Any:
        if name == "session_id":
            raise ZeroDivisionError
        return super().__getattribute__(name)


# -- stamping ----------------------------------------------------------------------------------------------------------


def test_publish_stamps_a_copy_and_leaves_the_callers_object() -> None:
    """Subscribers get a stamped copy of their own; the caller's event stays as it was."""
    event = Event("tool.completed", data={"tool": "read_file"}, span_id="c" * 16)
    clock = ManualClock(time_ns=77)

    (copy,) = published(lambda hub: hub.publish(event), clock=clock, session_id="own")

    assert event == Event("tool.completed", data={"tool": "read_file"}, span_id="c" * 16)
    assert copy is not event
    assert (copy.type, copy.time_ns, copy.session_id, copy.span_id) == ("tool.completed", 77, "own", "c" * 16)
    assert copy.data == {"tool": "read_file"}


def test_publish_keeps_what_the_event_says() -> None:
    """A time, a session and all ids of the event's own are kept."""
    event = Event("x", 5, "s", "p", "t", {"a": 1}, "1" * 32, "2" * 16, "3" * 16)
    (copy,) = published(lambda hub: hub.publish(event), session_id="own")
    assert copy.to_json() == event.to_json()


def test_identity_is_the_writer_and_a_number_from_one() -> None:
    """``seq`` counts from 1 in each hub, and hubs have different writers, whoever published the event before."""
    first = published(lambda hub: [hub.emit("x"), hub.publish(Event("y"))])
    second = published(lambda hub: [hub.publish(event) for event in first])
    assert [event.seq for event in first] == [event.seq for event in second] == [1, 2]
    assert len({event.writer_id for event in first}) == 1
    assert {event.writer_id for event in first}.isdisjoint(event.writer_id for event in second)


def test_emit_stamps_the_time_of_the_call() -> None:
    """An emitted event has the wall time of its emit, not of its delivery."""
    before_ns = time.time_ns()
    (event,) = published(lambda hub: hub.emit("x"))
    assert before_ns <= event.time_ns <= time.time_ns()


# -- data --------------------------------------------------------------------------------------------------------------


def test_any_key_can_be_data() -> None:
    """``type``, ``data`` and ``self`` are positional-only, so as keywords they are data like any other."""
    (event,) = published(lambda hub: hub.emit("x", type=1, data=2, self=3))
    assert (event.type, event.data) == ("x", {"type": 1, "data": 2, "self": 3})


def test_keywords_join_data_and_win() -> None:
    """Keywords are added to the mapping, over its own; the mapping is not changed."""
    data = {"a": 1, "b": 2}
    events = published(lambda hub: [hub.emit("x", data, b=3, c=4), hub.emit("x", MappingProxyType(data), c=4)])
    assert [event.data for event in events] == [{"a": 1, "b": 3, "c": 4}, {"a": 1, "b": 2, "c": 4}]
    assert data == {"a": 1, "b": 2}


def test_events_without_data_share_none() -> None:
    """A subscriber that writes into its event's empty data writes into nobody else's."""
    first, second = published(lambda hub: [hub.emit("x"), hub.emit("x")])
    first.data["mine"] = 1
    assert second.data == {}
    assert published(lambda hub: hub.emit("x"))[0].data == {}


def test_what_is_no_mapping_becomes_a_value() -> None:
    """Data of another kind is kept under ``value``, so a subscriber always finds a mapping."""
    events = published(lambda hub: [hub.emit("x", [1, 2]), hub.emit("x", 5, a=1), hub.publish(Event("x", data="text"))])  # type: ignore[arg-type]
    assert [event.data for event in events] == [{"value": [1, 2]}, {"value": 5, "a": 1}, {"value": "text"}]


def test_ids_become_text() -> None:
    """An id that is a UUID or a number arrives as its text, through emit and through publish."""
    unique = uuid.uuid4()
    event = Event("x", session_id=unique, plan_id=7)  # type: ignore[arg-type]
    events = published(lambda hub: [hub.emit("x", session_id=unique, plan_id=7, task_id=0), hub.publish(event)])  # type: ignore[arg-type]
    assert [(event.session_id, event.plan_id) for event in events] == [(str(unique), "7")] * 2
    assert events[0].task_id == "0"


def test_types_arrive_as_plain_strings() -> None:
    """An enum's member, or any other ``str``, becomes an exact ``str``: no foreign hash runs on the hub's thread."""
    events = published(
        lambda hub: [
            hub.emit(EventType.TOOL_STARTED),
            hub.publish(Event(EventType.TOOL_STARTED)),
            hub.emit(HostileText("tool.started"), session_id=HostileText("s")),
        ]
    )
    assert [(type(event.type), event.type) for event in events] == [(str, "tool.started")] * 3
    assert events[2].session_id == "s"


# -- hostile arguments -------------------------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[Hub], object]] = {
    "publish None": lambda hub: hub.publish(None),  # type: ignore[arg-type]
    "publish text": lambda hub: hub.publish("x"),  # type: ignore[arg-type]
    "publish the class": lambda hub: hub.publish(Event),  # type: ignore[arg-type]
    "publish with an unhashable type": lambda hub: hub.publish(Event(["x"])),  # type: ignore[arg-type]
    "publish with a textual time": lambda hub: hub.publish(Event("x", "soon")),  # type: ignore[arg-type]
    "publish with a raising id": lambda hub: hub.publish(Event("x", session_id=Textless())),  # type: ignore[arg-type]
    "publish a raising event": lambda hub: hub.publish(HostileEvent("x")),
    "publish a classless object": lambda hub: hub.publish(Textless()),  # type: ignore[arg-type]
    "emit None": lambda hub: hub.emit(None),  # type: ignore[arg-type]
    "emit an unhashable type": lambda hub: hub.emit(["x"]),  # type: ignore[arg-type]
    "emit a raising mapping with keywords": lambda hub: hub.emit("x", RaisingMapping(a=1), b=2),
    "emit a classless object": lambda hub: hub.emit("x", Textless()),  # type: ignore[arg-type]
    "emit with a raising id": lambda hub: hub.emit("x", session_id=Textless()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("act", HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_an_event_is_counted_and_never_raised(act: Callable[[Hub], object]) -> None:
    """No argument makes publishing raise; each is counted as ``invalid``, and the next event passes."""
    with Hub() as hub, hub.subscribe() as subscription:
        act(hub)
        hub.emit("good")
        hub.flush()
        event = subscription.get(timeout_s=10)
        stats = hub.stats()
    assert event is not None
    assert event.type == "good"
    assert stats.dropped == {"invalid": 1}
    assert (stats.published, stats.handed_over, hub.dropped_events) == (2, 1, 1)


def test_a_mapping_that_cannot_be_read_harms_nobody_in_the_hub() -> None:
    """Without keywords emit never looks into the mapping, and neither does the hub's thread."""
    with Hub() as hub, hub.subscribe(types=["x", "y"]) as subscription:
        recorder = hub.subscribe_recorder()
        hub.emit("x", RaisingMapping(a=1))
        hub.emit("y", session_id=HostileText("s"))
        hub.flush()
        assert [event.type for event in subscription._take(None)] == ["x", "y"]
        assert recorder.accepted == 2
        assert hub.stats().failures == {}


def test_a_signal_handlers_exception_is_not_taken_for_ours() -> None:
    """An exception that isn't about telemetry passes through: a timeout raised in emit ends what it is meant to end."""

    class TimesOut(ManualClock):
        def time_ns(self) -> int:  # in the place of a signal handler that interrupts emit
            raise TimeoutError("time is up")

    with Hub(clock=TimesOut()) as hub:
        with pytest.raises(TimeoutError, match="time is up"):
            hub.emit("x")
        assert hub.stats().published == 0


def test_deep_recursion_is_accounted_for() -> None:
    """However near the end of the stack: an emit that returned is in the ledger, and one that raised is not."""
    with Hub() as hub:
        returned = raised = 0

        def descend() -> None:
            nonlocal returned, raised
            try:
                descend()
            except RecursionError:
                pass
            try:
                hub.emit("deep")
                returned += 1
            except RecursionError:
                raised += 1

        descend()
        hub.flush()
        assert returned > 500
        assert raised < 10
        assert hub.stats().published == returned


def test_publishing_after_close_counts_closed() -> None:
    """A closed hub takes nothing, says nothing, and counts each."""
    hub = Hub()
    hub.emit("before")
    hub.close()
    hub.emit("after")
    hub.publish(Event("after"))
    stats = hub.stats()
    assert (stats.published, stats.handed_over, stats.queued) == (3, 1, 0)
    assert stats.dropped == {"closed": 2}
    assert hub.dropped_events == 2
