"""One emit on the publishing thread, beside one record of each logger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Barrier, Thread

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.measure import LARGEST_BLOCK, call_costs
from benchmarks.peers import logfire, loggers, opentelemetry, sonde
from benchmarks.peers.subject import Open

_UNITS = {"wall": "ns", "cpu": "ns", "total": "ns"}
_LARGEST_LARGE_BLOCK = 10_000  # 40 MB: well within what a recorder lets wait
_BLOCKS = "blocks of 0.1 s, at most 100,000 calls (10,000 of 4 kB), with queues run empty in between"

EMIT = Bench("emit", f"one call with the 4-key payload; {_BLOCKS}", _UNITS, reference="OpenTelemetry log")
LARGE = Bench(
    "emit, 4 kB", f"one call with a payload of 4 kB; {_BLOCKS}", _UNITS, reference="OpenTelemetry log", rounds=3
)
THREADS = Bench(
    "threads", "one call with the 4-key payload, all threads together", {"wall": "ns"}, reference="OpenTelemetry log, 1"
)

_HUB = "the hub alone, configured as by record(), {} live subscriptions, each read in batches by its thread"
SUBJECTS: Mapping[str, tuple[Open, str]] = {
    **{f"sonde, {count} live": (sonde.subscribed_hub(count), _HUB.format(count)) for count in (0, 1, 4)},
    "sonde, recording": (sonde.recording, sonde.recording.__doc__ or ""),
    "sonde, durability emit": (sonde.durable_at_once, sonde.durable_at_once.__doc__ or ""),
    **{
        name: (opened, opened.__doc__ or "")
        for name, opened in {
            "OpenTelemetry log": opentelemetry.logs,
            "Logfire": logfire.info,
            "structlog": loggers.structlog_json,
            "loguru": loggers.loguru_enqueued,
            "logging": loggers.standard_queue,
            "dict and deque": sonde.bare_append,
        }.items()
    },
}


def _one_thread(opened: Open, payload: str) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with opened() as subject:
            return call_costs(
                subject.loop(payload),
                settle=subject.settle,
                seconds=load.seconds,
                largest_block=LARGEST_BLOCK if payload == "4 keys" else _LARGEST_LARGE_BLOCK,
            )

    return measure


def _many_threads(opened: Open, count: int) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with opened() as subject:
            loop = subject.loop()
            each = load.count(40_000 if opened is not opentelemetry.logs else 16_000) // count
            barrier = Barrier(count + 1)

            def work() -> None:
                barrier.wait()
                loop(0, each)

            workers = [Thread(target=work) for _ in range(count)]
            for worker in workers:
                worker.start()
            barrier.wait()
            began_ns = time.perf_counter_ns()
            for worker in workers:
                worker.join()
            took_ns = time.perf_counter_ns() - began_ns
            subject.settle()
            return {"wall": took_ns / (each * count)}

    return measure


for _name, (_opened, _configuration) in SUBJECTS.items():
    EMIT.add(_name, _one_thread(_opened, "4 keys"), _configuration)
    LARGE.add(_name, _one_thread(_opened, "4 kB"), _configuration)
for _count in (1, 2, 8):
    for _name, _opened in {"sonde, 1 live": sonde.subscribed_hub(1), "OpenTelemetry log": opentelemetry.logs}.items():
        THREADS.add(f"{_name}, {_count}", _many_threads(_opened, _count), f"{SUBJECTS[_name][1]}; {_count} threads")
