"""The verdict on a soak: what may grow, by how much, and whether it did."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RSS_GROWTH_BYTES = 5_000_000
"""By the straight line through the last two thirds, from their beginning to their end."""

FILE_GROWTH_RATIO = 0.05
FILE_OVER_RATIO = 0.10
WAL_MAX_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class Soak:
    """What was measured."""

    samples: Sequence[dict[str, Any]]
    end: dict[str, Any]
    followers: dict[str, int]
    remains: dict[str, Any]
    max_bytes: int

    @property
    def late(self) -> Sequence[dict[str, Any]]:
        """The last two thirds: by then all that is filled once is full."""
        return self.samples[len(self.samples) // 3 :]

    def growth(self, key: str) -> float:
        """By how much something grew in the last two thirds, by the line that fits best."""
        late = self.late
        if len(late) < 3:
            return 0.0
        times = [one["s"] for one in late]
        slope, _ = statistics.linear_regression(times, [one[key] for one in late])
        return slope * (times[-1] - times[0])


def verdict(soak: Soak) -> tuple[list[str], list[str]]:
    """A line for each thing that was promised, and the names of those that did not hold."""
    late, end, remains, seen = soak.late, soak.end, soak.remains, soak.followers
    span_s = late[-1]["s"] - late[0]["s"]
    rss_growth, file_growth = soak.growth("rss_bytes"), soak.growth("db_bytes")
    rate = (late[-1]["committed"] - late[0]["committed"]) / span_s if span_s else 0.0
    largest_wal = max(one["wal_bytes"] for one in late)
    largest_file = max(one["db_bytes"] for one in soak.samples)
    median_rss = statistics.median(one["rss_bytes"] for one in late)
    first, last = late[0], late[-1]
    balance = end["committed"] + remains["notes"] - remains["removed_events"] - remains["events"]
    checks = [
        (
            "memory",
            rss_growth <= RSS_GROWTH_BYTES,
            f"resident memory grew by {rss_growth / 1e6:+.1f} MB in the last {span_s / 60:.0f} min "
            f"(at most {RSS_GROWTH_BYTES / 1e6:.0f}); median {median_rss / 1e6:.0f} MB",
        ),
        (
            "growth",
            file_growth <= FILE_GROWTH_RATIO * soak.max_bytes,
            f"the file grew by {file_growth / 1e6:+.1f} MB in the same time (at most "
            f"{FILE_GROWTH_RATIO * soak.max_bytes / 1e6:.1f})",
        ),
        (
            "size",
            largest_file <= (1 + FILE_OVER_RATIO) * soak.max_bytes,
            f"the file had {largest_file / 1e6:.1f} MB at most (retention {soak.max_bytes / 1e6:.0f} MB, and a tenth)",
        ),
        (
            "log",
            largest_wal <= WAL_MAX_BYTES,
            f"its log had {largest_wal / 1e6:.1f} MB at most (at most {WAL_MAX_BYTES / 1e6:.0f})",
        ),
        (
            "threads",
            last["threads"] <= first["threads"] and last["fds"] <= first["fds"] + 2,
            f"threads {first['threads']} → {last['threads']}, file descriptors {first['fds']} → {last['fds']}",
        ),
        (
            "dropped",
            end["complete"] and not end["dropped"] and all(one["dropped"] == 0 for one in soak.samples),
            f"{end['committed']:,} events committed, {rate:,.0f} a second in the last two thirds, "
            f"{sum(end['dropped'].values())} dropped",
        ),
        ("failures", not end["failures"], f"failures in the background: {end['failures'] or 'none'}"),
        (
            "balance",
            balance == 0,
            f"{remains['removed_events']:,} removed + {remains['events']:,} there = all that was committed"
            + (f", but for {balance}" if balance else ""),
        ),
        (
            "sound",
            not remains["damage"],
            f"verify() finds {'nothing' if not remains['damage'] else remains['damage'][0]}; "
            f"{end['sessions']} sessions, {remains['removed_sessions']} gone as a whole",
        ),
        (
            "readers",
            not seen.get("unexplained") and not seen.get("disorder"),
            f"{seen.get('readers', 0)} readers in other processes saw {seen.get('events', 0):,} events, "
            f"{seen.get('holes', 0)} holes, {seen.get('unexplained', 0)} of them not explained by retention",
        ),
    ]
    lines = [f"{'ok  ' if held else 'FAIL'} {text}" for _, held, text in checks]
    return lines, [name for name, held, _ in checks if not held]
