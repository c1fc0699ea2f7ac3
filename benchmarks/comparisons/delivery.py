"""Events from one publishing thread to subscribers that really take them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from itertools import count
from threading import Event as Flag
from threading import Thread

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.measure import compile_loop
from benchmarks.payload import EVENT_TYPE, PAYLOADS
from benchmarks.peers.sonde import QUEUE_SIZE
from sonde.events import PublishedEvent
from sonde.hub import Hub, Subscription
from sonde.recorder import RECORDER_HUB

BURST = 50_000

DELIVERY = Bench(
    "delivery",
    f"from emit until every subscriber has taken it, in bursts of {BURST:,} with a flush at the end; hub configured as"
    " by record(), queues that hold a burst",
    {"rate": "events/s"},
    reference="bare loop, 1",
)
ASYNCIO = Bench(
    "asyncio",
    f"the same to one subscriber in an event loop, in bursts of {BURST:,} with a flush at the end",
    {"rate": "events/s"},
    reference="bare loop, 1",
)

EMIT = f"emit(kind, {PAYLOADS['4 keys']})"
BUILD = f"event = PublishedEvent(kind, time_ns(), 'bench', '', '', {PAYLOADS['4 keys']}, '', '', '', 'writer', seq())"


def _rate(
    burst: Callable[[], None],
    load: Load,
    *,
    clear: Callable[[], None] = lambda: None,
    is_clearing_timed: bool = True,
) -> float:
    took_s = 0.0
    bursts = 0
    while took_s < load.seconds:
        began_s = time.perf_counter()
        burst()
        if is_clearing_timed:
            clear()
        took_s += time.perf_counter() - began_s
        if not is_clearing_timed:
            clear()
        bursts += 1
    return bursts * BURST / took_s


def _bare(subscribers: int, *, kept: bool = False) -> Candidate:
    """``kept``: the events are let go outside the timing, which delivery to readers cannot have."""

    def measure(load: Load) -> Mapping[str, float]:
        queues: list[deque[PublishedEvent]] = [deque() for _ in range(subscribers)]
        appends = {f"append_{number}": queue.append for number, queue in enumerate(queues)}
        names = {"PublishedEvent": PublishedEvent, "time_ns": time.time_ns, "seq": count(1).__next__}
        loop = compile_loop(
            "\n".join([BUILD, *(f"{name}(event)" for name in appends)]), {**names, **appends, "kind": EVENT_TYPE}
        )

        def clear() -> None:
            for queue in queues:
                queue.clear()

        return {"rate": _rate(lambda: loop(0, BURST), load, clear=clear, is_clearing_timed=not kept)}

    return measure


class _Reader:
    """A thread that takes what comes, and says when a burst is complete."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._taken = 0
        self._awaited = BURST
        self._complete = Flag()
        self.thread = Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        for batch in self._subscription.batches():
            self._taken += len(batch)
            if self._taken >= self._awaited:
                self._complete.set()

    def wait(self) -> None:
        """Return when the burst is complete."""
        if not self._complete.wait(30) or self._subscription.dropped:
            raise RuntimeError(f"{self._subscription.id} got {self._taken:,} of {self._awaited:,} events")
        self._awaited += BURST
        self._complete.clear()


def _delivered(subscribers: int) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with ExitStack() as stack:
            hub = Hub(RECORDER_HUB, session_id="bench")
            readers = [_Reader(hub.subscribe(queue_size=QUEUE_SIZE)) for _ in range(subscribers)]
            for reader in readers:
                stack.callback(reader.thread.join)
            stack.callback(hub.close)
            loop = compile_loop(EMIT, {"emit": hub.emit, "kind": EVENT_TYPE})

            def burst() -> None:
                loop(0, BURST)
                hub.flush()
                for reader in readers:
                    reader.wait()

            return {"rate": _rate(burst, load)}

    return measure


async def _take_batches(subscription: Subscription) -> None:
    taken = 0
    async for batch in subscription.batches():
        taken += len(batch)
        if taken >= BURST:
            return


async def _take_each(subscription: Subscription) -> None:
    taken = 0
    async for _ in subscription:
        taken += 1
        if taken >= BURST:
            return


def _awaited(take: Callable[[Subscription], Awaitable[None]]) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with Hub(RECORDER_HUB, session_id="bench") as hub, hub.subscribe(queue_size=QUEUE_SIZE) as subscription:
            loop = compile_loop(EMIT, {"emit": hub.emit, "kind": EVENT_TYPE})

            def publish() -> None:
                loop(0, BURST)
                hub.flush()

            async def burst() -> float:
                began_s = time.perf_counter()
                publisher = asyncio.get_running_loop().run_in_executor(None, publish)
                await take(subscription)
                took_s = time.perf_counter() - began_s
                await publisher
                return took_s

            async def bursts() -> float:
                took_s = 0.0
                number = 0
                while took_s < load.seconds:
                    took_s += await burst()
                    number += 1
                return number * BURST / took_s

            return {"rate": asyncio.run(bursts())}

    return measure


_BARE = "PublishedEvent built and stamped, then appended to {} deques; let go at the end of each burst"
_KEPT = "the same, timed without letting the events go: what a bare loop pays that nobody reads from"
_READ = "one emit; {} threads take it in batches"
for _count in (1, 4):
    DELIVERY.add(f"bare loop, {_count}", _bare(_count), _BARE.format(_count))
    DELIVERY.add(f"bare loop, {_count}, kept", _bare(_count, kept=True), _KEPT.format(_count))
    DELIVERY.add(f"sonde, {_count}", _delivered(_count), _READ.format(_count))
ASYNCIO.add("bare loop, 1", _bare(1), _BARE.format(1))
ASYNCIO.add("async for batch", _awaited(_take_batches), "subscription.batches() in a task; a thread emits")
ASYNCIO.add("async for event", _awaited(_take_each), "the subscription itself in a task; a thread emits")
