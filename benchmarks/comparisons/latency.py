"""How long a single emit takes at worst: while the writer is busy, and among eight threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Barrier, Thread

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.measure import Loop, quantile
from benchmarks.peers import opentelemetry, sonde
from benchmarks.peers.subject import Open, Subject

CALLS = 60_000
THREADS = 8
PACED_RATE = 5_000
_STEP_S = 0.002

_UNITS = {"p50": "µs", "p99": "µs", "p99.9": "µs", "max": "µs"}
_CLOCK = "; each call timed, the clock's own 0.1 µs included"
LATENCY = Bench(
    "latency",
    f"one call while what was recorded before is written, {CALLS:,} without a pause{_CLOCK}",
    _UNITS,
    reference="OpenTelemetry log",
    rounds=5,
)
PACED = Bench(
    "8 threads, paced",
    f"one call of {THREADS} threads, each {PACED_RATE:,} a second, 10 each 2 ms{_CLOCK}",
    _UNITS,
    reference="a call that does nothing",
)
FLAT_OUT = Bench(
    "8 threads, flat out",
    f"one call of {THREADS} threads that do nothing else{_CLOCK}",
    _UNITS,
    reference="a call that does nothing",
    rounds=10,
)

Work = Callable[[Loop, float], None]


def _flat_out(loop: Loop, seconds: float) -> None:
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        loop(0, 100)


def _paced(loop: Loop, seconds: float) -> None:
    began_s = next_s = time.perf_counter()
    while next_s < began_s + seconds:
        loop(0, int(PACED_RATE * _STEP_S))
        next_s += _STEP_S
        time.sleep(max(0.0, next_s - time.perf_counter()))


def _alone(opened: Open) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        took: list[int] = []
        with opened() as subject:
            subject.loop()(0, load.count(20_000))  # gives the writer something to do
            subject.loop(took=took)(0, load.count(CALLS))
            subject.settle()
        return _quantiles(took)

    return measure


def _among_threads(opened: Open, work: Work) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        with opened() as subject:
            took = _times(subject, work, load.seconds * 2)
            subject.settle()
        return _quantiles(took)

    return measure


def _times(subject: Subject, work: Work, seconds: float) -> list[int]:
    times: list[list[int]] = [[] for _ in range(THREADS)]
    barrier = Barrier(THREADS)

    def run(loop: Loop) -> None:
        barrier.wait()
        work(loop, seconds)

    threads = [Thread(target=run, args=(subject.loop(took=took),)) for took in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [value for took in times for value in took]


def _quantiles(took: list[int]) -> Mapping[str, float]:
    took.sort()
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {**{name: quantile(took, share) / 1000 for name, share in shares.items()}, "max": took[-1] / 1000}


_SUBJECTS: Mapping[str, Open] = {
    "a call that does nothing": sonde.nothing,
    "sonde, recording": sonde.recording,
    "OpenTelemetry log": opentelemetry.logs,
}
for _name, _opened in _SUBJECTS.items():
    LATENCY.add(_name, _alone(_opened), _opened.__doc__ or "")
    PACED.add(_name, _among_threads(_opened, _paced), _opened.__doc__ or "")
    _flooded = sonde.overloaded if _opened is sonde.recording else _opened
    FLAT_OUT.add(_name, _among_threads(_flooded, _flat_out), _flooded.__doc__ or "")
