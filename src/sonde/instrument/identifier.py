"""Identifiers of spans, traces, plans and tasks: random, and cheap enough for every operation."""

from __future__ import annotations

import os

_REFILL = 256

# Asking the kernel for each id costs a system call (0.5 µs and more); one call fills the pool for many. ``pop`` and
# ``extend`` are atomic, so no lock is needed: two threads that find the pool empty both fill it, which does no harm.
_pool: list[str] = []

# A forked child would hand out the ids that its parent hands out.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.clear)


def new_span_id() -> str:
    """16 hex digits, random. Thread-safe, safe after ``fork``, in signal handlers too; never blocks.

    >>> len(new_span_id())
    16
    """
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(8 * _REFILL).hex()
        _pool.extend([digits[start : start + 16] for start in range(16, len(digits), 16)])
        return digits[:16]


def new_trace_id() -> str:
    """32 hex digits, random. As :func:`new_span_id`.

    >>> len(new_trace_id())
    32
    """
    return new_span_id() + new_span_id()


def new_name(noun: str) -> str:
    """A short name that a person can read out, such as ``plan-1a2b3c4d``: unique among billions of pairs, not secret.

    >>> new_name("plan").startswith("plan-")
    True
    """
    return f"{noun}-{new_span_id()[:8]}"
