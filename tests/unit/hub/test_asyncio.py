"""Subscriptions in event loops: many loops, many threads, cancellation."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sonde.events import PublishedEvent
from sonde.hub import Hub, HubConfig, Subscription

UNLIMITED = HubConfig(rate_limit=None, queue_size=100_000, subscriber_queue_size=100_000)


async def collect(subscription: Subscription) -> list[int]:
    return [event.data["n"] async for event in subscription]


async def fall_asleep(subscription: Subscription) -> None:
    """One round of the loop lets the consumers that were just started run to where they wait."""
    await asyncio.sleep(0)
    assert subscription._sleepers


def test_async_for_sees_everything_and_ends() -> None:
    """``async for`` gives events while they are published, and ends with the hub."""

    async def main() -> list[int]:
        with Hub(UNLIMITED) as hub:
            reading = asyncio.create_task(collect(hub.subscribe()))
            for number in range(2_000):
                hub.emit("x", n=number)
                if number % 100 == 0:
                    await asyncio.sleep(0)
            hub.stop()
            return await reading

    assert asyncio.run(main()) == list(range(2_000))


def test_async_batches() -> None:
    """``async for`` over batches gives the same, in lists."""

    async def main() -> list[list[PublishedEvent]]:
        with Hub(UNLIMITED) as hub:
            subscription = hub.subscribe()
            for number in range(25):
                hub.emit("x", n=number)
            hub.close()
            return [batch async for batch in subscription.batches(10)]

    assert [len(batch) for batch in asyncio.run(main())] == [10, 10, 5]


def test_several_loops_in_several_threads_share_a_subscription() -> None:
    """Loops in other threads, tasks in one loop and plain threads may all read one subscription at once."""
    with Hub(UNLIMITED) as hub:
        shared, whole = hub.subscribe(), hub.subscribe()

        async def two_tasks() -> list[int]:
            first, second = await asyncio.gather(collect(shared), collect(shared))
            return first + second

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(asyncio.run, two_tasks()) for _ in range(2)]
            futures.append(pool.submit(lambda: [event.data["n"] for event in shared]))
            futures.append(pool.submit(asyncio.run, collect(whole)))
            for number in range(10_000):
                hub.emit("x", n=number)
            hub.close()
            *parts, everything = [future.result(60) for future in futures]
    assert sorted(number for part in parts for number in part) == list(range(10_000))
    assert everything == list(range(10_000))


def test_a_cancelled_consumer_leaves_nothing_behind() -> None:
    """Cancelling a consumer that waits loses no event, and leaves no sleeper: the next one gets all."""

    async def main() -> None:
        with Hub(UNLIMITED) as hub:
            subscription = hub.subscribe()
            waiting = asyncio.create_task(collect(subscription))
            await fall_asleep(subscription)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not subscription._sleepers
            hub.emit("x", n=1)
            hub.flush()
            assert subscription.stats().queued == 1
            assert [event.data["n"] for event in await subscription.take_async()] == [1]

    asyncio.run(main())


def test_a_consumer_cancelled_just_when_it_is_woken_loses_nothing() -> None:
    """An event that arrives at the moment of the cancellation stays in the queue."""

    async def main() -> None:
        with Hub(UNLIMITED) as hub:
            subscription = hub.subscribe()
            for number in range(50):
                waiting = asyncio.create_task(subscription.take_async(1))
                await fall_asleep(subscription)
                hub.emit("x", n=number)
                hub.flush()  # the waking call is in the loop's queue now, and not yet run
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert [event.data["n"] for event in await subscription.take_async()] == [number]
            assert not subscription._sleepers

    asyncio.run(main())


def test_closing_wakes_waiting_tasks() -> None:
    """A task that waits ends when another thread closes the subscription."""

    async def main() -> list[int]:
        with Hub() as hub:
            subscription = hub.subscribe()
            waiting = asyncio.create_task(collect(subscription))
            await fall_asleep(subscription)
            await asyncio.to_thread(subscription.close)
            return await asyncio.wait_for(waiting, 30)

    assert asyncio.run(main()) == []


def test_a_closed_loop_does_not_disturb_the_others() -> None:
    """A consumer whose loop is gone is forgotten: delivery goes on for all others."""
    with Hub(UNLIMITED) as hub:
        subscription, other = hub.subscribe(), hub.subscribe()
        loop = asyncio.new_event_loop()
        task = loop.create_task(subscription.take_async())
        loop.run_until_complete(asyncio.sleep(0))
        assert subscription._sleepers
        loop.close()  # as if the thread had died with it
        hub.emit("x", n=1)
        hub.flush()
        assert other.get(timeout_s=10) is not None
        assert subscription.get(timeout_s=10) is not None
        assert hub.stats().failures == {}
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # meant to be left pending


def test_the_loop_is_not_blocked_by_waiting() -> None:
    """While a consumer waits, the loop runs other tasks, and the event comes from another thread."""

    async def main() -> None:
        with Hub() as hub:
            subscription = hub.subscribe()
            waiting = asyncio.create_task(subscription.take_async(1))
            await fall_asleep(subscription)
            thread = threading.Thread(target=hub.emit, args=("x",))
            thread.start()
            assert len(await asyncio.wait_for(waiting, 30)) == 1
            thread.join()

    asyncio.run(main())
