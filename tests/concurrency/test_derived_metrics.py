"""Derived metrics across a fork: each process counts what it committed, and the file gives the sum."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonde.metrics import RegistrySnapshot
from sonde.query import derive_metrics
from sonde.store import SQLiteStore

FORKING = """
import json, os, sys, sonde

def work(number):
    for i in range(number):
        with rec.tool("t"):
            pass
        rec.emit("tokens.updated", model="m", output_tokens=i)

def tell(name):
    with open(sys.argv[2] + name, "w") as file:
        json.dump(rec.registry.snapshot().to_data(), file)

rec = sonde.record(sys.argv[1], session_id="s")
work(700)
if sys.argv[3] == "flushed":
    rec.flush()
pid = os.fork()
if pid == 0:
    assert rec.registry.families() == []
    work(300)
    report = rec.close()
    tell("child")
    os._exit(0 if report else 1)
work(500)
_, status = os.waitpid(pid, 0)
assert status == 0, status
assert rec.close()
tell("parent")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("state", ["flushed", "behind"])
def test_parent_and_child_add_up_to_the_file(tmp_path: Path, state: str) -> None:
    """A child begins with an empty registry, whatever the parent was about to count, and nothing counts twice."""
    path = tmp_path / "runs.db"
    run = subprocess.run(
        [sys.executable, "-c", FORKING, str(path), f"{tmp_path}/", state],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    parent, child = (
        RegistrySnapshot.from_data(json.loads((tmp_path / name).read_text())) for name in ("parent", "child")
    )
    with SQLiteStore(path, mode="ro") as store:
        whole = derive_metrics(store, "s").snapshot()
    calls = [snapshot.get("tool_calls_total", {"tool_name": "t"}) for snapshot in (parent, child, whole)]
    assert [call.total for call in calls] == [1200, 300, 1500]  # type: ignore[union-attr]
    both = parent.merged(child)
    assert both.series.keys() == whole.series.keys()
    tokens = ("model_tokens_total", {"model": "m", "kind": "output"})
    assert both.get(*tokens) == whole.get(*tokens)
    durations = ("tool_duration_seconds", {"tool_name": "t"})
    added, read = both.get(*durations), whole.get(*durations)
    assert added.cumulative == read.cumulative  # type: ignore[union-attr]
    assert added.sketch == read.sketch  # type: ignore[union-attr]
    assert added.sum == pytest.approx(read.sum)  # type: ignore[union-attr]
