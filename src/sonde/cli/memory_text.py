"""What a ``sonde.memory`` event says, in a few words."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from sonde.cli.wording import bytes_text, duration_text, plural
from sonde.events import EventType
from sonde.query import SessionSummary
from sonde.store import EventStore


def memory_text(data: Mapping[str, Any]) -> str:
    """Memory of a process and of its container; what is unknown is left out.

    >>> gib = 1024**3
    >>> cgroup = {"limit": 2 * gib, "working_set": int(1.9 * gib), "oom_kills": 1}
    >>> memory_text({"rss": gib, "peak_rss": 3 * gib // 2, "swap": 0, "threads": 4, "cgroup": cgroup})
    '1.0 GiB resident, peak 1.5 GiB, container 95 % of 2.0 GiB, 1 process killed for memory, 4 threads'
    """
    words = []
    for key, form in (("rss", "{} resident"), ("peak_rss", "peak {}"), ("swap", "{} swapped out")):
        size_bytes = _number(data, key)
        if size_bytes:
            words.append(form.format(bytes_text(size_bytes)))
    cgroup = data.get("cgroup")
    if isinstance(cgroup, dict):
        limit, used = _number(cgroup, "limit"), _number(cgroup, "working_set") or _number(cgroup, "current")
        if limit and used:
            words.append(f"container {used / limit:.0%} of {bytes_text(limit)}".replace("%", " %"))
        kills = _number(cgroup, "oom_kills")
        if kills:
            words.append(f"{plural(kills, 'process')} killed for memory")
    for key, noun in (("threads", "thread"), ("asyncio_tasks", "task"), ("fds", "file")):
        number = _number(data, key)
        if number:
            words.append(plural(number, noun))
    return ", ".join(words)


def last_memory_text(store: EventStore, summary: SessionSummary) -> str:
    """What the last ``sonde.memory`` event of a session says, and how long before the session's last event it was."""
    last = deque(store.read_by_type(summary.stream_id, EventType.MEMORY.value), maxlen=1)
    if not last:
        return ""
    event = last[0]
    before_s = (summary.last_ns - event.time_ns) / 1e9
    when = "" if before_s < 1 else f", {duration_text(before_s)} before the last event"
    return f"{memory_text(event.data)}{when}"


def _number(data: Mapping[str, Any], key: str) -> int | None:
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
