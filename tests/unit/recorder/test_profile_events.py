"""A recorder's profile: off unless asked for, bounded, whole, and no danger to the program."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sonde
from sonde.clock import ManualClock
from sonde.errors import ConfigError
from sonde.events import Event
from sonde.hub import Ticker
from sonde.profiling import MORE_STACKS, ChunkReader, Frame, Profile, Sample, ValueType, labels_of
from sonde.query import read_profile
from sonde.recorder.profile_events import BYTES_AN_HOUR, FIRST_BYTES, LEAST_CHUNK_BYTES, Allowance, ProfileEvents

TYPES = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))


class Flood:
    """In place of a sampler: at each look stacks that nobody has seen before, and one that is always there."""

    def __init__(self, clock: ManualClock, stacks: int = 100) -> None:
        self.clock = clock
        self.stacks = stacks
        self.taken = 0
        self.is_running = False

    def start(self) -> None:
        self.is_running = True

    def take(self) -> Profile:
        self.taken += 1
        rare = [
            Sample(
                tuple(Frame(f"generated_{self.taken}_{number}_{depth}", "/tmp/made.py", 3) for depth in range(10)),
                (1, 1_000_000),
                labels_of({"tool": "flood", "span": f"{self.taken * 1000 + number:016x}"}),
            )
            for number in range(self.stacks)
        ]
        often = Sample((Frame("often", "agent.py", 7),), (200, 200_000_000), labels_of({"tool": "grep"}))
        return Profile(sample_types=TYPES, samples=(*rare, often), time_ns=self.clock.time_ns(), duration_ns=10**10)

    def stop(self) -> Profile:
        self.is_running = False
        return self.take()

    def after_fork_in_child(self) -> None:
        raise NotImplementedError


@pytest.fixture
def ticker() -> Any:
    made = Ticker("sonde-test")
    yield made
    made.stop()


def test_a_flood_of_unique_stacks_stays_within_the_bytes_of_an_hour(ticker: Ticker) -> None:
    """Two hours of 100 new stacks every 30 s: never more than stated, no sample missing, the known stack kept."""
    clock = ManualClock(time_ns=1)
    found: list[Event] = []
    flood = Flood(clock)
    events = ProfileEvents(session_id="s", interval_s=None, sampler=flood, clock=clock)
    events.start(ticker, found.append)
    sizes = []
    for _ in range(240):
        clock.advance(30.0)
        before = len(found)
        events.tick()
        sizes.append(sum(len(msgspec.json.encode(event.data)) for event in found[before:]))
    events.close(1.0)
    assert BYTES_AN_HOUR * 1.9 < sum(sizes) <= 2 * BYTES_AN_HOUR + FIRST_BYTES
    for start in range(0, 120, 20):  # in every hour, not only in the mean
        assert sum(sizes[start : start + 120]) <= BYTES_AN_HOUR + FIRST_BYTES
    reader = ChunkReader()
    profile = Profile.merge(reader.read(event.data) for event in found)
    assert profile.total("samples", tool="flood") == flood.taken * 100
    assert profile.total("samples", tool="grep") == flood.taken * 200
    often = next(one for one in profile.samples if one.stack[0].function == "often")
    assert often.values[0] == flood.taken * 200
    more = sum(one.values[0] for one in profile.samples if one.stack == (MORE_STACKS,))
    assert reader.omitted == more > 0
    assert not flood.is_running
    assert not events.failures.counts


def test_the_last_event_is_written_even_where_the_allowance_is_used_up(ticker: Ticker) -> None:
    """At the end there is room for one small event; what it writes is owed to the next, so nothing is lost silently."""
    clock = ManualClock(time_ns=1)
    found: list[Event] = []
    flood = Flood(clock)
    events = ProfileEvents(session_id="s", interval_s=None, sampler=flood, clock=clock)
    events.start(ticker, found.append)
    for _ in range(40):  # no time passes
        events.tick()
    assert sum(len(msgspec.json.encode(event.data)) for event in found) <= FIRST_BYTES
    taken = flood.taken
    assert taken < 40  # what does not fit now stays in the sampler
    events.close(1.0)
    assert flood.taken == taken + 1 == len(found)
    assert len(msgspec.json.encode(found[-1].data)) <= max(LEAST_CHUNK_BYTES, FIRST_BYTES)
    events.close(1.0)
    assert len(found) == taken + 1


def test_a_close_that_does_not_wait_ends_the_sampler_all_the_same(ticker: Ticker) -> None:
    """Whoever is just making a profile ends the sampler then; the failure is counted."""
    clock = ManualClock(time_ns=1)
    begun, go = threading.Event(), threading.Event()

    class Slow(Flood):
        """A take that lasts."""

        def take(self) -> Profile:
            begun.set()
            assert go.wait(30)
            return super().take()

    slow = Slow(clock)
    events = ProfileEvents(session_id="s", interval_s=None, sampler=slow, clock=clock)
    events.start(ticker, lambda event: None)
    ticking = threading.Thread(target=events.tick)
    ticking.start()
    assert begun.wait(30)
    events.close(0.0)
    assert slow.is_running
    go.set()
    ticking.join(30)
    assert not slow.is_running
    assert events.failures.counts == {"profile": 1}


def test_allowance_never_saves_up_more_than_the_first_burst() -> None:
    """A quiet night does not pay for a loud minute."""
    allowance = Allowance(now_s=0.0)
    assert allowance.at(now_s=1e6) == FIRST_BYTES
    allowance.take(FIRST_BYTES + 1000, now_s=0.0)
    assert allowance.at(now_s=0.0) == -1000
    assert allowance.at(now_s=3600.0) == FIRST_BYTES


def test_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being asked a recorder starts no sampler and writes no such event."""
    monkeypatch.delenv("SONDE_PROFILE", raising=False)
    with sonde.record(":memory:", session_id="s") as rec:
        with rec.tool("grep"):
            pass
        assert "sonde-profiler" not in {thread.name for thread in threading.enumerate()}
        assert rec.flush()
        assert [event.type for event in rec.store.read("s")] == ["session.started", "tool.started", "tool.completed"]


@pytest.mark.parametrize(
    ("variable", "argument", "is_on"),
    [
        ("1", None, True),
        ("yes", None, True),
        ("0", None, False),
        ("off", None, False),
        ("1", False, False),
        ("0", True, True),
    ],
)
def test_the_environment_asks_and_an_argument_decides(
    monkeypatch: pytest.MonkeyPatch, variable: str, argument: bool | None, is_on: bool
) -> None:
    """SONDE_PROFILE turns it on where profile= is not given."""
    monkeypatch.setenv("SONDE_PROFILE", variable)
    with sonde.record(":memory:", session_id="s", profile=argument):
        assert ("sonde-profiler" in {thread.name for thread in threading.enumerate()}) is is_on
    assert "sonde-profiler" not in {thread.name for thread in threading.enumerate()}


def test_disabled_means_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """SONDE_DISABLED wins over everything."""
    monkeypatch.setenv("SONDE_DISABLED", "1")
    with sonde.record(profile=True):
        assert "sonde-profiler" not in {thread.name for thread in threading.enumerate()}


def test_a_short_run_has_its_profile_from_the_last_event(tmp_path: Path) -> None:
    """What ends before the first interval is published at close, before the session's end, with session and tool."""
    store = sonde.SQLiteStore(tmp_path / "runs.db")
    with sonde.record(store=store, session_id="s", profile=True, profile_hz=500) as rec, rec.tool("grep"):
        threading.Event().wait(0.3)
    events = [event.type for event in store.read("s")]
    assert events == ["session.started", "tool.started", "tool.completed", "sonde.profile", "session.ended"]
    profile = read_profile(store, "s")
    assert profile.total("samples", session="s", tool="grep", operation="tool grep", thread="MainThread") > 3
    assert [one.type for one in profile.sample_types][:2] == ["samples", "wall"]
    assert 0.1e9 < profile.total("wall", tool="grep") < 20e9
    store.close()


@pytest.mark.parametrize("wrong", [{"profile_hz": 0}, {"profile_hz": 1e6}, {"profile_interval_s": -1}])
def test_what_cannot_work_is_refused_before_anything_is_opened(tmp_path: Path, wrong: dict[str, float]) -> None:
    """A wrong rate or interval raises, and leaves no file behind."""
    with pytest.raises(ConfigError):
        sonde.record(tmp_path / "runs.db", profile=True, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_failure_is_counted_and_the_program_goes_on(ticker: Ticker, caplog: pytest.LogCaptureFixture) -> None:
    """A profile that cannot be published is a line in the log and a number in stats."""
    clock = ManualClock(time_ns=1)

    def refuse(event: Event) -> None:
        raise RuntimeError("no")

    events = ProfileEvents(session_id="s", interval_s=None, sampler=Flood(clock), clock=clock)
    with caplog.at_level(logging.WARNING, "sonde"):
        events.start(ticker, refuse)
        events.tick()
        events.close(1.0)
    assert events.failures.counts == {"profile": 2}
    assert "cannot record a profile" in caplog.text
