"""A real Operations whose events land in a list, on a clock that is moved by hand."""

from collections.abc import Iterator

import pytest

from sonde.clock import ManualClock
from sonde.context import EMPTY_SCOPE, current_scope, set_scope
from sonde.events import Event
from sonde.instrument import Operations, fault


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time_ns=1_000)


@pytest.fixture
def rec(events: list[Event], clock: ManualClock) -> Operations:
    return Operations(events.append, session_id="s-1", clock=clock)


@pytest.fixture(autouse=True)
def clean_floor() -> Iterator[None]:
    """Each test begins outside any operation, must end there, and hears of faults anew."""
    set_scope(EMPTY_SCOPE)
    fault._seen.clear()
    yield
    left = current_scope()
    set_scope(EMPTY_SCOPE)
    fault._seen.clear()
    assert left == EMPTY_SCOPE
