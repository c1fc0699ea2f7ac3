"""The agent of ``sonde demo``, at full speed: ``demonstrating``. With ``SONDE_DISABLED=1`` nothing is recorded."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import sonde
from benchmarks.children.child import report
from benchmarks.children.process import resident_mb
from sonde.cli.demonstration import API_KEY, ScriptedModel, make_repository, work


def main() -> None:
    """Let it work once."""
    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as folder:
        repository = Path(folder) / "repository"
        repository.mkdir()
        make_repository(repository)
        rec = sonde.record(Path(folder) / "runs.db", session_id="demo")
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        work(rec, ScriptedModel(is_fast=True), repository, environment={**os.environ, "PAYMENT_API_KEY": API_KEY})
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        closing_s = time.perf_counter()
        rec.close()
        close_s = time.perf_counter() - closing_s
    report(wall=wall_s, cpu=cpu_s, rss=resident_mb("VmHWM"), close=close_s * 1000)


if __name__ == "__main__":
    main()
