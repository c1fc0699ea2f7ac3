"""What the fault tests share: programs of their own, and disks that may be filled, cut off and thrown away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 100
"""For what takes a second. A loaded machine must not turn into a failed test."""

Play = Callable[..., Any]
Mount = Callable[..., Path]


@pytest.fixture
def play() -> Play:
    """Runs a program, which prints one JSON document at its end, and gives that document."""

    def run(source: str, *arguments: object, returncode: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", source, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == returncode, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system for the test; where this is not allowed, the test is skipped."""
    places: list[Path] = []

    def run(name: str, *arguments: str) -> Path:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("needs root, to mount a file system")
        done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a file system: {done.stderr.strip()}")
        places.append(place)
        return place

    yield run
    for place in reversed(places):  # lazily: a test that failed may have left a process there
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)
