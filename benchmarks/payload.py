"""The payloads that all candidates carry, as source text: each call builds its own, as an agent does."""

from __future__ import annotations

from collections.abc import Mapping

EVENT_TYPE = "tool.completed"

TEXT = ("The quick brown fox jumps over the lazy dog, and the tests still fail. " * 60)[:4000]

PAYLOADS: Mapping[str, str] = {
    "4 keys": '{"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n}',
    "4 kB": '{"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n, "text": text}',
}
"""In a timed loop ``n`` counts, and ``text`` is :data:`TEXT`."""


def small(n: int) -> dict[str, object]:
    """The payload of four keys, where no loop is compiled."""
    return {"tool": "read_file", "duration_ms": 12.5, "ok": True, "i": n}
