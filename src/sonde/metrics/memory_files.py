"""The files in which Linux tells about memory: small texts, which elsewhere are not there."""

from __future__ import annotations

import os

_MAX_BYTES = 64 * 1024


def read_text(path: str) -> str | None:
    """What a file of the kernel holds; ``None`` if there is none. Some 4 µs; a file object costs as much again."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # not Linux, no such control group, no permission: all the same to who asks
        return None
    try:
        return os.read(file, _MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(file)


def read_words(path: str) -> dict[str, int]:
    """Numbers by name, of lines such as ``inactive_file 4096``."""
    return _numbers(path, "", 1)


def read_sizes(path: str) -> dict[str, int]:
    """Bytes by name, of lines such as ``VmRSS:   2084 kB``; numbers without a unit as they are."""
    return _numbers(path, ":", 1024)


def _numbers(path: str, end: str, kilo: int) -> dict[str, int]:
    numbers = {}
    for line in (read_text(path) or "").splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdecimal():
            numbers[words[0].removesuffix(end)] = int(words[1]) * (kilo if words[-1] == "kB" else 1)
    return numbers
