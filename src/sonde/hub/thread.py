"""LazyThread: a daemon thread that a signal handler may start, and that an interrupt cannot lose."""

from __future__ import annotations

import threading
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable


class LazyThread:
    """Runs ``body`` on a daemon thread from the first :meth:`start` on, once at a time, until it returns.

    ``threading.Thread.start`` takes locks and waits: a signal handler that calls it deadlocks if it interrupted another
    start. So :meth:`start` makes a raw thread, which only makes the proper one. (A raw thread alone would have no name,
    and ``current_thread()``, which each log line asks, would leave a dummy behind for ever.)
    """

    __slots__ = ("_alive", "_body", "_name", "_tokens")

    def __init__(self, name: str, body: Callable[[], object]) -> None:
        """Start nothing yet."""
        self._name = name
        self._body = body
        self._tokens: list[None] = [None]  # whoever pops it starts the thread
        self._alive = allocate_lock()  # held while the body runs

    @property
    def is_wanting(self) -> bool:
        """Whether the next :meth:`start` would start it: it never did, or no thread could be had."""
        return bool(self._tokens)

    def start(self) -> None:
        """Start the thread unless it was. Never blocks; where no thread can be had, it stays wanting."""
        try:
            self._tokens.pop()
            start_new_thread(self._introduce, ())
        except IndexError:
            return
        except RuntimeError:  # as at interpreter shutdown
            self._tokens.append(None)
        except BaseException:
            # Cut off by a signal, before the start or after it: a second thread finds the first alive and leaves.
            self._tokens.append(None)
            raise

    def revive(self) -> None:
        """Make it wanting if it does not run, whatever became of it. For callers that have waited in vain."""
        if not self._alive.locked() and not self._tokens:
            self._tokens.append(None)

    def _introduce(self) -> None:
        try:
            threading.Thread(target=self._live, name=self._name, daemon=True).start()
        except RuntimeError:  # one thread was to be had, and not two
            self._live()

    def _live(self) -> None:
        if not self._alive.acquire(blocking=False):
            return
        try:
            self._body()
        finally:
            self._alive.release()
