"""A reader in another process: ``follower DB SECONDS`` follows the store from its beginning and says what it saw.

Within a stream versions must come in order. One that is missing must have been removed: it is below the first version
that the store has by the time at which the next one was seen.
"""

from __future__ import annotations

import json
import sys
import time

import sonde


def main() -> None:
    """Follow for a while."""
    db, seconds = sys.argv[1], float(sys.argv[2])
    end_s = time.monotonic() + seconds
    last: dict[str, int] = {}
    events = holes = unexplained = disorder = 0
    position = None
    with sonde.SQLiteStore(db, mode="ro") as store:
        for event in store.follow(sonde.Position.START, timeout_s=seconds):
            events += 1
            if position is not None and event.position <= position:
                disorder += 1
            position = event.position
            before = last.get(event.stream_id, 0)
            if event.version <= before:
                disorder += 1
            elif event.version > before + 1:
                holes += 1
                unexplained += not _is_removed(store, event.stream_id, event.version)
            last[event.stream_id] = event.version
            if time.monotonic() >= end_s:
                break
    print(json.dumps({"events": events, "holes": holes, "unexplained": unexplained, "disorder": disorder}), flush=True)


def _is_removed(store: sonde.SQLiteStore, stream_id: str, version: int) -> bool:
    """Whether all below ``version`` is gone."""
    for stream in store.streams():
        if stream.stream_id == stream_id:
            return stream.first_version >= version or stream.first_version == 0
    return True  # the whole stream, and its name


if __name__ == "__main__":
    main()
