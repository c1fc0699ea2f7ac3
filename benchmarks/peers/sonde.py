"""sonde itself: the hub alone, configured as ``record()`` configures it, or all of ``record()`` as it comes."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import sonde
from benchmarks.payload import EVENT_TYPE
from benchmarks.peers.subject import Open, Subject, nothing_at_all
from sonde.hub import Hub, Subscription
from sonde.recorder import RECORDER_HUB

QUEUE_SIZE = 1 << 18
"""Of each subscription: like the peers' queues it holds a whole block, since dropping would be cheaper."""


@contextmanager
def recorder(*, may_drop: bool = False, durability: str = "commit", redact: bool = True) -> Iterator[sonde.Recorder]:
    """``record()`` as it comes, into a file in a temporary folder. Fails where an event was lost, unless it may be."""
    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder:
        with sonde.record(Path(folder) / "runs.db", session_id="bench", durability=durability, redact=redact) as rec:
            yield rec
        report = rec.close()
        if rec.stats().unjournaled and not may_drop:
            raise RuntimeError(f"events were not journaled: {rec.stats()}")
        if not report and not may_drop:
            raise RuntimeError(f"events were lost: {report}")


def subscribed_hub(count: int) -> Open:
    """The hub alone with ``count`` live subscriptions, each read in batches by a thread that discards them."""

    @contextmanager
    def opened() -> Iterator[Subject]:
        with ExitStack() as stack:
            hub = Hub(RECORDER_HUB, session_id="bench")
            subscriptions = [hub.subscribe(queue_size=QUEUE_SIZE) for _ in range(count)]
            readers = [Thread(target=_discard, args=(subscription,)) for subscription in subscriptions]
            for reader in readers:
                reader.start()
                stack.callback(reader.join)
            stack.callback(hub.close)
            yield Subject("emit(kind, PAYLOAD)", {"emit": hub.emit, "kind": EVENT_TYPE}, hub.flush)
            if hub.dropped_events:
                raise RuntimeError(f"events were dropped: {hub.stats()}")

    return opened


def _discard(subscription: Subscription) -> None:
    for _ in subscription.batches():
        pass


@contextmanager
def recording() -> Iterator[Subject]:
    """``record()`` as it comes, writing to disk meanwhile: redaction, sanitising and checksums on."""
    with recorder() as rec:
        yield Subject("emit(kind, PAYLOAD)", {"emit": rec.emit, "kind": EVENT_TYPE}, rec.flush)


@contextmanager
def durable_at_once() -> Iterator[Subject]:
    """``record(durability="emit")``, otherwise as it comes: each event survives a kill when its emit returns."""
    with recorder(durability="emit") as rec:
        yield Subject("emit(kind, PAYLOAD)", {"emit": rec.emit, "kind": EVENT_TYPE}, rec.flush)


@contextmanager
def overloaded() -> Iterator[Subject]:
    """``record()`` as it comes, at a rate that it cannot take for long: past 256 MiB it counts what it drops."""
    with recorder(may_drop=True) as rec:
        yield Subject("emit(kind, PAYLOAD)", {"emit": rec.emit, "kind": EVENT_TYPE}, rec.flush)


@contextmanager
def operations() -> Iterator[Subject]:
    """``with rec.tool(...)`` around nothing, an argument and a result, recorded to disk: two events each."""
    with recorder() as rec:
        yield Subject(
            "with tool('read_file', path='a.py') as op: op.set(result='print(1)')", {"tool": rec.tool}, rec.flush
        )


@contextmanager
def bare_append() -> Iterator[Subject]:
    """A dict built and appended to a deque: what the payload alone costs."""
    kept: deque[object] = deque()
    yield Subject("append(PAYLOAD)", {"append": kept.append}, kept.clear)


@contextmanager
def nothing() -> Iterator[Subject]:
    """A function that takes type and payload and does nothing."""
    yield Subject("call(kind, PAYLOAD)", {"call": nothing_at_all, "kind": EVENT_TYPE}, lambda: None)
