"""CgroupMemory: how much memory the control group of this process may have, which is what a container dies of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sonde.metrics.memory_files import read_text, read_words

_UNLIMITED_BYTES = 1 << 60
"""Version 1 says the largest number of pages for "no limit", which differs between systems; none has this much."""


class CgroupMemory(msgspec.Struct, frozen=True):
    """Memory of a control group, in bytes; ``None`` is unknown, and as ``limit`` also: there is none.

    Of nested groups it is the one with the least room left, since that one kills.

    Attributes:
        limit: past it the kernel reclaims, and then kills.
        current: what counts against it, the page cache included.
        working_set: ``current`` without the file pages that the kernel can drop at once; close to the limit is danger.
        oom_kills: processes of the group killed for want of memory. It lives on when this process is not the one.
    """

    limit: int | None = None
    current: int | None = None
    working_set: int | None = None
    oom_kills: int | None = None


class _Layout(NamedTuple):
    """Where one version of control groups keeps things."""

    folder: str
    limit: str
    current: str
    reclaimable: str
    events: str


_V1 = _Layout("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control")
_V2 = _Layout("", "memory.max", "memory.current", "inactive_file", "memory.events")


def read_cgroup_memory(proc: str = "/proc", mount: str = "/sys/fs/cgroup") -> CgroupMemory | None:
    """The memory of this process's control group; ``None`` where there is none to be seen. Some 60 µs; raises nothing.

    Args:
        proc: where the process file system is.
        mount: where the control groups are mounted.
    """
    place = _own_group(read_text(f"{proc}/self/cgroup"))
    if place is None:
        return None
    layout, path = place
    root = os.path.join(mount, layout.folder).rstrip("/")
    groups = [
        (folder, _number(folder, layout.limit), current)
        for folder in _lineage(root, path)
        if (current := _number(folder, layout.current)) is not None
    ]
    if not groups:
        return None
    limited = [group for group in groups if group[1] is not None]
    folder, limit, current = min(limited, key=_room) if limited else groups[0]
    reclaimable = read_words(f"{folder}/memory.stat").get(layout.reclaimable)
    return CgroupMemory(
        limit=limit,
        current=current,
        working_set=None if reclaimable is None else max(0, current - reclaimable),
        oom_kills=read_words(f"{folder}/{layout.events}").get("oom_kill"),
    )


def _own_group(text: str | None) -> tuple[_Layout, str] | None:
    """Layout and path; lines are ``id:controllers:path``. A controller of version 1 is not in version 2's tree."""
    unified = None
    for line in (text or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            return _V1, path
        if not controllers:
            unified = _V2, path
    return unified


def _lineage(root: str, path: str) -> Iterator[str]:
    """The folders of a group and of those around it, innermost first.

    In a container the path may be the host's, and the mount the container's own group: then none of the path is there,
    and the mount itself is the group.
    """
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for length in range(len(parts), -1, -1):
        yield "/".join((root, *parts[:length]))


def _room(group: tuple[str, int | None, int]) -> int:
    return (group[1] or 0) - group[2]


def _number(folder: str, name: str) -> int | None:
    text = (read_text(f"{folder}/{name}") or "").strip()
    if not text.isdecimal():  # "max", or no such file
        return None
    return None if int(text) >= _UNLIMITED_BYTES else int(text)
