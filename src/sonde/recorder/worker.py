"""WorkerExit: what ``multiprocessing`` workers do at their end, since ``atexit`` does nothing in them.

A forked worker ends with ``os._exit``. Before that ``multiprocessing`` calls what is on a list of its own, which it
empties when the worker starts. So each fork first leaves word with it, if the program has loaded it, to put us there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_LAST = -100  # after what users and queues have there, and after the worker's own children


class WorkerExit:
    """Has ``close`` called at the end of every ``multiprocessing`` worker that this process becomes or starts.

    Thread-safety: by the lock that a fork holds. Blocking: none, ``close`` aside. Loss: a worker that is terminated or
    killed calls nothing, and neither does a bare ``os.fork`` that ends with ``os._exit``.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._is_arranged = False  # workers inherit it, and what was arranged

    def arrange(self) -> None:
        """Do so from now on, if the program uses ``multiprocessing``. To be called before each fork. Idempotent."""
        util = sys.modules.get("multiprocessing.util")
        if util is None or self._is_arranged:
            return
        self._is_arranged = True
        util.register_after_fork(self, WorkerExit._enlist)
        if sys.modules["multiprocessing.process"].parent_process() is not None:  # this is a worker already
            self._enlist()

    def _enlist(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self._close, exitpriority=_LAST)


def close_in_workers(close: Callable[[], None]) -> WorkerExit:
    """Have ``close`` called in workers, also in those of a program that loads ``multiprocessing`` later."""
    workers = WorkerExit(close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=workers.arrange)
    return workers
