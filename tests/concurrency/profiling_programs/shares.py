"""Works for three tools in the shares 70, 20 and 10, in threads or tasks, and says what a profile saw."""

import asyncio
import json
import sys
import threading
import time

import sonde
from sonde.profiling import Sampler

TURN_S = {"alpha": 0.140, "beta": 0.040, "gamma": 0.020}


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        count += 1


def work_alpha() -> None:
    spin(TURN_S["alpha"])


def work_beta() -> None:
    spin(TURN_S["beta"])


def work_gamma() -> None:
    spin(TURN_S["gamma"])


WORK = {"alpha": work_alpha, "beta": work_beta, "gamma": work_gamma}


def in_threads(rec: sonde.Recorder, seconds: float) -> None:
    """Two threads, one of which has its scope by propagate, and whose tools contain a call of a model."""

    def plain() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, work in WORK.items():
                with rec.tool(name):
                    work()

    @sonde.propagate
    def nested() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, work in WORK.items():
                with rec.tool(name), rec.model("a-model"):
                    work()

    threads = [threading.Thread(target=plain, name="plain"), threading.Thread(target=nested, name="nested")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_tasks(rec: sonde.Recorder, seconds: float) -> None:
    """Three tasks that stay inside their tool for as long as they live, and take turns."""

    async def use(name: str) -> None:
        async with rec.tool(name):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                WORK[name]()
                await asyncio.sleep(0)

    async def main() -> None:
        with rec.task("All three", task_id="t-1"):
            await asyncio.gather(*map(use, WORK))

    asyncio.run(main())


def in_to_thread(rec: sonde.Recorder, seconds: float) -> None:
    """The tool is entered in a task, and its work is done by another thread, one after the other."""

    async def main() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, work in WORK.items():
                with rec.tool(name):
                    await asyncio.to_thread(work)

    asyncio.run(main())


def in_generators(rec: sonde.Recorder, seconds: float) -> None:
    """A decorated generator and its consumer take turns: beta belongs to the consumer's tool, alpha to its own."""

    @rec.tool
    def alpha():
        while True:
            work_alpha()
            yield

    with rec.tool("beta"):
        steps = alpha()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            next(steps)
            work_beta()
            with rec.tool("gamma"):
                work_gamma()


RUNS = {"threads": in_threads, "tasks": in_tasks, "to_thread": in_to_thread, "generators": in_generators}


def main() -> None:
    """Run one of them, and print the time seen by working function and tool."""
    how, seconds = sys.argv[1], float(sys.argv[2])
    with sonde.record(":memory:", session_id="s-1") as rec:
        sampler = Sampler(hz=250, seed=11, cpu_ratio=0.1)  # many looks in a short time: what is tested is not the cost
        sampler.start()
        with rec.plan("A plan", plan_id="p-1"):
            RUNS[how](rec, seconds)
        profile = sampler.stop()
    seen: dict[str, int] = {}
    for sample in profile.samples:
        labels = dict(sample.labels)
        worker = next((frame.function for frame in sample.stack if frame.function.startswith("work_")), "")
        key = f"{worker.removeprefix('work_')} {labels['tool']} {labels['session']} {labels['operation']}"
        seen[key] = seen.get(key, 0) + sample.values[0]
    sys.stdout.write(json.dumps({"seen": seen, "comments": profile.comments}))


if __name__ == "__main__":
    main()
