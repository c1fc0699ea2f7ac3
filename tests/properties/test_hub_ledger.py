"""The hub's ledgers against a plain model, for any order of publishing, subscribing, reading, flushing and closing."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sonde.clock import ManualClock
from sonde.events import PublishedEvent
from sonde.hub import Hub, HubConfig, Subscription
from sonde.hub.subscription import GapEvent

QUEUE_SIZE = 7
KINDS = ["a", "b"]
LONGEST_BURST = 12


@dataclass
class Reader:
    """What an outsider knows of one subscription: which events are its, and how far it got."""

    subscription: Subscription
    types: list[str] | None
    is_open: bool = True
    is_member: bool = True
    expected: list[int] = field(default_factory=list)
    seen: int = 0
    missed: int = 0

    def note(self, kind: str, number: int) -> None:
        if self.is_open and (self.types is None or kind in self.types):
            self.expected.append(number)

    def read(self, event: PublishedEvent) -> None:
        """Each event is exactly the one that follows what was seen and what gaps said is missing."""
        if event.type == "sonde.gap":
            assert event.data["missed"] == sum(event.data["reasons"].values()) > 0
            self.missed += event.data["missed"]
        else:
            assert event.data["n"] == self.expected[self.seen + self.missed]
            self.seen += 1


class HubAgainstModel(RuleBasedStateMachine):
    """Drives a hub, and counts on its own what goes in and what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.hub = Hub(
            HubConfig(queue_size=QUEUE_SIZE, batch_size=3, rate_limit=20, subscriber_queue_size=3), clock=self.clock
        )
        self.barrier = self.hub.subscribe_recorder()
        self.recorded = 0
        self.readers: list[Reader] = []
        self.published = 0
        self.refused = 0
        self.invalid = 0
        self.closed = False

    # -- what may happen -----------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), count=st.integers(1, LONGEST_BURST))
    def emit(self, kind: str, count: int) -> None:
        for _ in range(count):
            for reader in self.readers:
                reader.note(kind, self.published)
            self.hub.emit(kind, n=self.published)
            self.published += 1
            self.refused += self.closed

    @rule()
    def emit_what_is_no_event(self) -> None:
        self.hub.emit(["unfit"])  # type: ignore[arg-type]
        self.invalid += 1

    @precondition(lambda self: len(self.readers) < 6)
    @rule(types=st.sampled_from([None, ["a"], ["a", "b"]]), queue_size=st.integers(1, 9))
    def subscribe(self, types: list[str] | None, queue_size: int) -> None:
        subscription = self.hub.subscribe(types=types, queue_size=queue_size)
        self.readers.append(Reader(subscription, types, not self.closed, not self.closed))

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        self.barrier.settle(30)  # what is still on its way would not reach it
        assert self.hub.unsubscribe(reader.subscription.id) == reader.is_member
        reader.is_open = reader.is_member = False

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), count=st.integers(1, 15))
    def consume(self, data: st.DataObject, count: int) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        for _ in range(count):
            event = reader.subscription.get(timeout_s=0)
            if event is None:
                break
            reader.read(event)

    @rule()
    def flush(self) -> None:
        self.hub.flush()
        for reader in self.readers:
            if reader.is_open:
                assert len(reader.subscription._queue) <= reader.subscription.queue_size

    @rule(seconds=st.floats(0.01, 2))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def look(self) -> None:
        """At any moment, quiet or not, no figure is negative and each row balances."""
        stats = self.hub.stats()
        assert stats.published == stats.handed_over + stats.queued + sum(stats.dropped.values())
        for row in (*stats.subscriptions, *stats.recorders):
            assert row.offered == row.taken + row.queued + sum(row.dropped.values())
            assert min(row.offered, row.taken, row.queued, *row.dropped.values(), 0) == 0
        assert min(stats.published, stats.handed_over, stats.queued, 0) == 0

    @precondition(lambda self: self.published > 20)
    @rule()
    def close(self) -> None:
        self.hub.close()
        self.closed = True
        for reader in self.readers:
            reader.is_open = False

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def ledgers_balance(self) -> None:
        self.barrier.settle(30)
        stats = self.hub.stats()
        assert stats.published == self.published + self.invalid
        assert stats.handed_over == self.published - self.refused
        assert stats.queued == 0
        assert stats.dropped == {
            reason: count for reason, count in (("closed", self.refused), ("invalid", self.invalid)) if count
        }
        self.count_recorded()
        dropped = 0
        for reader in self.readers:
            row = reader.subscription.stats()
            assert row.offered == len(reader.expected)
            assert row.taken == reader.seen
            assert row.offered == row.taken + row.queued + sum(row.dropped.values())
            assert min(row.queued, *row.dropped.values(), 0) == 0
            assert reader.missed <= sum(row.dropped.values())
            waiting = [event for event in reader.subscription._queue if not isinstance(event, GapEvent)]
            assert len(waiting) <= reader.subscription.queue_size + QUEUE_SIZE
            dropped += sum(row.dropped.values())
        assert sum(stats.live_dropped.values()) == dropped
        assert self.hub.dropped_events == dropped + self.refused + self.invalid

    def count_recorded(self) -> None:
        chunks = self.barrier.take(max_events=10**6, max_bytes=10**9)
        for chunk in chunks:
            for event in chunk.events:
                assert event.data["n"] == self.recorded
                self.recorded += 1
        self.barrier.release(chunks)
        assert self.recorded == self.published - self.refused

    def teardown(self) -> None:
        """In the end every reader has seen or was told of every event that was its."""
        self.hub.close()
        for reader in self.readers:
            for event in reader.subscription:
                reader.read(event)
            assert reader.seen + reader.missed == len(reader.expected)
            row = reader.subscription.stats()
            assert (row.queued, sum(row.dropped.values())) == (0, reader.missed)


HubAgainstModel.TestCase.settings = settings(stateful_step_count=30)
TestHubLedger = HubAgainstModel.TestCase
TestHubLedger.__doc__ = "Both ledgers balance against an outside count, never go negative, and gaps lie in their place."
