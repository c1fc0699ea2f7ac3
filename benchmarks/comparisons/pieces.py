"""What delivery is made of: its steps one after the other on one thread, each timed by itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.comparisons.delivery import BUILD, EMIT
from benchmarks.measure import compile_loop
from benchmarks.payload import EVENT_TYPE
from benchmarks.peers.sonde import QUEUE_SIZE
from sonde.events import PublishedEvent
from sonde.hub import Hub, HubConfig

BLOCK = 5_000
_BLOCKS = 10

PIECES = Bench(
    "pieces of delivery",
    f"the steps of delivery apart, on one thread, in blocks of {BLOCK:,} events: publishing, the hub's turn, taking"
    " all batches and letting them go",
    {"publish": "ns", "turn": "ns", "read": "ns"},
    reference="bare loop, 4",
)


class _Steps:
    """Adds up how long each step took."""

    def __init__(self) -> None:
        self._took_ns: dict[str, int] = {}

    def timed(self, step: str, action: Callable[[], object]) -> object:
        began_ns = time.perf_counter_ns()
        result = action()
        self._took_ns[step] = self._took_ns.get(step, 0) + time.perf_counter_ns() - began_ns
        return result

    def per_event(self) -> dict[str, float]:
        return {step: took_ns / (BLOCK * _BLOCKS) for step, took_ns in self._took_ns.items()}


def _bare(subscribers: int) -> Candidate:
    def measure(_load: Load) -> Mapping[str, float]:
        queues: list[deque[PublishedEvent]] = [deque() for _ in range(subscribers)]
        appends = {f"append_{number}": queue.append for number, queue in enumerate(queues)}
        names = {"PublishedEvent": PublishedEvent, "time_ns": time.time_ns, "seq": count(1).__next__}
        loop = compile_loop(
            "\n".join([BUILD, *(f"{name}(event)" for name in appends)]), {**names, **appends, "kind": EVENT_TYPE}
        )
        steps = _Steps()
        for _ in range(_BLOCKS):
            steps.timed("publish", lambda: loop(0, BLOCK))
            steps.timed("read", lambda: [queue.clear() for queue in queues])
        return steps.per_event()

    return measure


def _delivered(subscribers: int) -> Candidate:
    # The hub's thread is left asleep until the flush.
    config = HubConfig(batch_size=10 * BLOCK, flush_interval_s=60, queue_size=QUEUE_SIZE, rate_limit=None)

    def measure(_load: Load) -> Mapping[str, float]:
        with ExitStack() as stack:
            hub = stack.enter_context(Hub(config, session_id="bench"))
            batches = [iter(hub.subscribe(queue_size=QUEUE_SIZE).batches()) for _ in range(subscribers)]
            loop = compile_loop(EMIT, {"emit": hub.emit, "kind": EVENT_TYPE})
            hub.emit(EVENT_TYPE)
            hub.flush()
            for batch in batches:
                next(batch)
            steps = _Steps()
            for _ in range(_BLOCKS):
                steps.timed("publish", lambda: loop(0, BLOCK))
                steps.timed("turn", hub.flush)
                # A batch is let go when the next is taken.
                taken = [steps.timed("read", batch.__next__) for batch in batches]
                if any(len(events) != BLOCK for events in taken):  # type: ignore[arg-type]
                    raise RuntimeError("a batch isn't a block: the hub's thread was awake")
                taken.clear()  # so that only the iterators hold the events, and let them go inside the next timing
            return steps.per_event()

    return measure


for _count in (1, 4):
    PIECES.add(
        f"bare loop, {_count}", _bare(_count), f"the event built and appended to {_count} deques; clear() of them"
    )
    PIECES.add(f"sonde, {_count}", _delivered(_count), f"emit; flush; {_count} times batches(); all of them let go")
