"""The soak, in small: a busy agent with retention on, a live subscriber, and readers that come and go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_twenty_seconds_of_the_soak(tmp_path: Path, fault_report: Callable[..., None]) -> None:
    """Nothing is dropped, what is gone is counted, the store is sound. Whether anything grows takes half an hour."""
    command = [sys.executable, "-m", "benchmarks.soaking", "--minutes", "0.33", "--max-mb", "4", "--session-s", "4"]
    options = ["--rate", "3000", "--sample-s", "1", "--no-plot", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert (tmp_path / "soak.json").exists(), done.stdout
    document = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert not {"dropped", "balance", "sound", "readers"} & set(document["failed"]), done.stdout
    remains = document["remains"]
    assert remains["removed_sessions"] > 0
    fault_report(
        fault="retention removes while an agent records and others read",
        promised="nothing dropped, each event there or counted as removed, readers miss nothing else",
        seen=f"{document['end']['committed']:,} events committed, {remains['removed_events']:,} removed, none missing",
    )
