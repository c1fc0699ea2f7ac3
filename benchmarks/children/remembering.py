"""Records many events and says how much memory that took: ``remembering COUNT``."""

from __future__ import annotations

import sys

from benchmarks.children.child import report
from benchmarks.children.process import resident_mb
from benchmarks.measure import compile_loop
from benchmarks.payload import EVENT_TYPE, PAYLOADS
from benchmarks.peers.sonde import recorder

_BLOCK = 10_000


def main() -> None:
    """In blocks, each flushed: what piles up then is a leak, not a queue."""
    blocks = max(2, int(sys.argv[1]) // _BLOCK)
    with recorder() as rec:
        before_mb = resident_mb()
        loop = compile_loop(f"emit(kind, {PAYLOADS['4 keys']})", {"emit": rec.emit, "kind": EVENT_TYPE})
        early_mb = 0.0
        for block in range(blocks):
            loop(block * _BLOCK, _BLOCK)
            rec.flush()
            if block == blocks // 10:
                early_mb = resident_mb()
        report(before=before_mb, early=early_mb, after=resident_mb(), highest=resident_mb("VmHWM"))


if __name__ == "__main__":
    main()
