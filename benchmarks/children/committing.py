"""Commits an event now and then, with the moment just before: ``committing PATH COUNT``."""

from __future__ import annotations

import random
import sys
import time

from sonde.events import Event
from sonde.store import open as open_store

_PAUSES_S = (0.01, 0.06)  # at random, so that they fall in step with nobody's polling


def main() -> None:
    """Append ``COUNT`` events, one a transaction."""
    path, count = sys.argv[1], int(sys.argv[2])
    pauses = random.Random(42)
    with open_store(path) as store:
        for _ in range(count):
            time.sleep(pauses.uniform(*_PAUSES_S))
            # This clock is the same in all processes of a Linux machine.
            store.append("bench", [Event("tool.completed", data={"sent_ns": time.monotonic_ns()})])


if __name__ == "__main__":
    main()
