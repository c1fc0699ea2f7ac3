"""``sonde.memory`` events in the commands: one line each, and what a dead process held last."""

import re
from pathlib import Path
from typing import Any

from sonde.events import Event

GIB = 1024**3
HELD = {
    "rss": int(1.9 * GIB),
    "peak_rss": int(1.9 * GIB),
    "swap": None,
    "threads": 4,
    "asyncio_tasks": 0,
    "fds": 12,
    "cgroup": {"limit": 2 * GIB, "current": 2 * GIB, "working_set": int(1.94 * GIB), "oom_kills": None},
}
SAID = "1.9 GiB resident, peak 1.9 GiB, container 97 % of 2.0 GiB, 4 threads, 12 files"


def memory(run: Any, at_s: float, data: dict[str, Any]) -> Event:
    return Event("sonde.memory", run.started("x", 1, at_s=at_s).time_ns, "fix-42", data=data)


def test_a_memory_event_is_one_line_of_words(db: Path, sonde: Any, sample: Any) -> None:
    """``replay`` and ``show --events`` say what was held, without the dictionary of thirty keys."""
    sample.append(db, sample.started("session", 1), memory(sample, 1, HELD), memory(sample, 2, {"rss": "much"}))
    for shown in (sonde("replay", "fix-42").out, sonde("show", "fix-42", "--events").out):
        assert re.search(rf"sonde\.memory  {re.escape(SAID)}", shown)
        assert "peak_rss" not in shown


def test_a_dead_session_says_what_it_held_last(db: Path, sonde: Any, sample: Any) -> None:
    """The header has the last memory event, and how long before the end of the record it was."""
    sample.append(
        db,
        sample.started("session", 1),
        memory(sample, 1, {**HELD, "rss": 1024}),
        memory(sample, 2, HELD),
        sample.started("tool", 2, 1, at_s=4.5, tool="search"),
    )
    header = sonde("show", "fix-42").out.partition("\n\n")[0]
    assert f"  memory   {SAID}, 2.50 s before the last event" in header


def test_a_session_that_completed_has_no_such_line(db: Path, sonde: Any, sample: Any) -> None:
    """Where nothing went wrong, the header keeps quiet about memory."""
    sample.append(
        db,
        sample.started("session", 1),
        memory(sample, 1, HELD),
        sample.ended("session", 1, how="ended", at_s=2.0, status="completed", duration_s=2.0),
    )
    header = sonde("show", "fix-42").out.partition("\n\n")[0]
    assert "fix-42  completed" in header
    assert "resident" not in header
