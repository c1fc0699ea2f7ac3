"""Metric events: custom metrics survive ``kill -9``, and each forked process counts its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sonde.metrics import CounterReading, GaugeReading, HistogramSnapshot
from sonde.query import read_metrics
from sonde.store import SQLiteStore

ENDLESS = """
import sys, time, sonde
rec = sonde.record(sys.argv[1], session_id="s", metrics_interval_s=0.02)
live = rec.hub.subscribe(types=["sonde.metrics"])
sonde.counter("pages_total", {"kind": "html"}).inc(3)
sonde.gauge("depth").set(2.5)
sonde.histogram("page_seconds").observe(0.25)
assert live.get(timeout_s=30)
assert rec.flush()
print("written", flush=True)
while True:
    sonde.counter("pages_total", {"kind": "html"}).inc()
    time.sleep(0.001)
"""


def test_custom_metrics_survive_kill_9(tmp_path: Path) -> None:
    """What was counted an interval before the end is in the store, figures and distribution."""
    path = tmp_path / "runs.db"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    with SQLiteStore(path, mode="ro") as store:
        found = read_metrics(store.read("s"))
    pages = found.get("pages_total", {"kind": "html"})
    assert isinstance(pages, CounterReading)
    assert pages.total >= 3
    depth, seconds = found.get("depth"), found.get("page_seconds")
    assert isinstance(depth, GaugeReading)
    assert depth.value == 2.5
    assert isinstance(seconds, HistogramSnapshot)
    assert (seconds.count, seconds.percentile(0.99)) == (1, 0.25)


FORKING = """
import os, sys, sonde
rec = sonde.record(sys.argv[1], session_id="s", metrics_interval_s=0.02)
pages = sonde.counter("pages_total")
parents = rec.hub.subscribe(types=["sonde.metrics"])
pages.inc(1000)
assert parents.get(timeout_s=30) and rec.flush()  # so that the forks find the writer at rest
children = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        live = rec.hub.subscribe(types=["sonde.metrics"])
        pages.inc(n + 1)
        sonde.histogram("page_seconds").observe(float(n))
        if n < 2:
            os._exit(0 if rec.close() else 1)
        # The last one never closes: its thread, which the fork armed again, has to write.
        event = live.get(timeout_s=30)
        os._exit(0 if event and rec.flush() else 1)
    children.append(pid)
for pid in children:
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
pages.inc(10_000)
assert rec.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_each_process_counts_its_own(tmp_path: Path) -> None:
    """A forked child begins from zero, whatever its parent had counted, and writes in its own time; sums add up."""
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", FORKING, str(path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read("s"))
    found = read_metrics(events)
    assert found.get("pages_total") == CounterReading(11_000 + 1 + 2 + 3)
    seconds = found.get("page_seconds")
    assert isinstance(seconds, HistogramSnapshot)
    assert (seconds.count, seconds.sum) == (3, 3.0)
    assert len({event.writer_id for event in events if event.type == "sonde.metrics"}) == 4


WORKING = """
import multiprocessing, sys
import sonde

def work(number):
    sonde.counter("pages_total").inc(number)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    rec = sonde.record(sys.argv[1], session_id="s")
    sonde.counter("pages_total").inc(100)
    assert rec.flush()  # so that the forks find the writer at rest
    workers = [context.Process(target=work, args=(number,)) for number in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_workers_that_only_count_are_recorded(tmp_path: Path) -> None:
    """A worker that emits nothing leaves what it counted at its end, and so does a program that never closes."""
    path = tmp_path / "runs.db"
    (tmp_path / "working.py").write_text(WORKING)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "working.py"), str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    with SQLiteStore(path, mode="ro") as store:
        assert read_metrics(store.read("s")).get("pages_total") == CounterReading(103)
