"""Forking: no thread is inside SQLite at a fork, and no connection to a file is open.

SQLite keeps what it locked per process and file in memory. A child that inherits that believes to hold locks that the
kernel never gave it: it never gets the write lock that another thread had at the fork, and a process that closes next
removes the write-ahead log under it. Leaving the inherited connections alone, as SQLite advises, is not enough, since
new ones to the same file share that memory. So the forking thread first waits for the others' calls, and closes; parent
and child open again when they need to. ``subprocess`` comes here only with a ``preexec_fn``: else it runs no Python
between fork and exec.

A fork that bypasses Python's hooks (a C program that embeds it) is noticed by its pid and opens anew, without that
safety.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

MAX_WAIT_S = 5.0
"""How long a fork waits for calls in flight. A store that is busy past it is inherited as it is."""


class Forkable(Protocol):
    """What a store does about a fork."""

    def before_fork(self, deadline_s: float) -> None:
        """Wait until no thread is inside SQLite, let none in, and close."""
        ...

    def after_fork_in_parent(self) -> None:
        """Let them in again."""
        ...

    def after_fork_in_child(self) -> None:
        """Forget all that belongs to the parent."""
        ...


class _Forks:
    """The stores of this process, and the lock that keeps a fork and an opening apart."""

    def __init__(self) -> None:
        self.opening = threading.Lock()
        self.stores: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._holds_opening = False
        self._stopped: list[Forkable] = []

    def before(self) -> None:
        deadline_s = time.monotonic() + MAX_WAIT_S
        self._holds_opening = self.opening.acquire(timeout=MAX_WAIT_S)
        self._stopped = list(self.stores)
        for store in self._stopped:
            store.before_fork(deadline_s)

    def after_in_parent(self) -> None:
        for store in self._stopped:
            store.after_fork_in_parent()
        self._stopped = []
        if self._holds_opening:
            self._holds_opening = False
            self.opening.release()

    def after_in_child(self) -> None:
        self.opening = threading.Lock()
        self._holds_opening = False
        self._stopped = []
        for store in list(self.stores):
            store.after_fork_in_child()


forks = _Forks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=forks.before, after_in_parent=forks.after_in_parent, after_in_child=forks.after_in_child)
