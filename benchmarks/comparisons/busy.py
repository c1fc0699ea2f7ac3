"""What a computing thread loses while another records 10,000 events a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks.bench import Bench, Candidate, Load
from benchmarks.comparisons.spinner import Spinner
from benchmarks.peers import lean, opentelemetry, sonde
from benchmarks.peers.subject import Open

RATE = 10_000
_STEP_S = 0.01

BUSY = Bench(
    "beside a busy thread",
    f"turns a second of a thread that computes, while another emits {RATE:,} events/s, {RATE // 100} each 10 ms",
    {"turns": "/s", "emitted": "events/s"},
    reference="a call that does nothing",
)


def _kept(opened: Open) -> Candidate:
    def measure(load: Load) -> Mapping[str, float]:
        seconds = load.seconds * 4
        with opened() as subject:
            loop = subject.loop()
            sent = 0
            with Spinner() as spinner:
                began_s = time.perf_counter()
                while (passed_s := time.perf_counter() - began_s) < seconds:
                    # By the clock, since a wake-up comes late beside a busy thread: the rate is kept all the same.
                    due = int((passed_s + _STEP_S) * RATE) - sent
                    loop(sent, due)
                    sent += due
                    time.sleep(_STEP_S)
            subject.settle()
            return {"turns": spinner.rate, "emitted": sent / seconds}

    return measure


for _name, _opened in {
    "a call that does nothing": sonde.nothing,
    "sonde, recording": sonde.recording,
    "OpenTelemetry log": opentelemetry.logs,
    "bare apsw": lean.written_behind,
}.items():
    BUSY.add(_name, _kept(_opened), _opened.__doc__ or "")
