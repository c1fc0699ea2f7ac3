"""Termination: SIGTERM ends the program as ``sys.exit`` does, for recorders that ask for it.

Python may overlook a signal for as long as the main thread waits: one that comes when that thread is about to wait, and
is giving up the interpreter first, is noted and interrupts nothing. Beside busy threads that takes milliseconds.
Ctrl-C is pressed again then; SIGTERM is not, and ``Pool.terminate()`` would wait for its worker for ever. So a pipe
tells of each signal, and who looks there finds what was overlooked, and sends it once more.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from sonde.errors import ConfigError
from sonde.instrument import Terminated


class Termination:
    """The handler of SIGTERM that the recorders of one process share: there while one of them is open that wants it.

    The handler raises :class:`~sonde.instrument.Terminated` in the main thread, so ``finally`` blocks and ``atexit``
    run. Forked children inherit it. While recorders are being closed at exit it does nothing: a second SIGTERM must
    not cut off what the first one began.

    Thread-safety: :meth:`join` is for the main thread, the only one in which Python sets handlers; :meth:`leave` is for
    all. Blocking: none.
    """

    def __init__(self) -> None:
        """Nobody asks yet."""
        self._askers: set[int] = set()
        self._number = 0
        self._pipe = _Pipe()
        self._overlooked_looks = 0
        self._is_repeating = False
        self.is_held_off = False
        """Whether SIGTERM does nothing just now."""

    @property
    def error(self) -> Terminated | None:
        """What was raised, if SIGTERM came."""
        return Terminated(self._number) if self._number else None

    def check(self) -> None:
        """Whether a recorder may ask, here and now.

        Raises:
            ConfigError: this is not the main thread, or the program does something about SIGTERM itself.
        """
        if threading.get_ident() != threading.main_thread().ident:
            raise ConfigError(
                f"cannot handle SIGTERM from thread {threading.current_thread().name!r}: Python sets signal handlers "
                "in the main thread only; call record(sigterm=True) there, or leave sigterm out"
            )
        found = signal.getsignal(signal.SIGTERM)
        if found not in (signal.SIG_DFL, self._handle):
            does = "ignores it" if found == signal.SIG_IGN else f"has a handler for it, {found!r}"
            raise ConfigError(
                f"cannot handle SIGTERM: this program {does}; leave sigterm out: what is queued is written at exit if "
                "the program ends by sys.exit()"
            )

    def join(self, asker: object) -> None:
        """Handle SIGTERM until ``asker`` leaves. After :meth:`check`."""
        self._askers.add(id(asker))
        signal.signal(signal.SIGTERM, self._handle)
        self._pipe.open()

    def leave(self, asker: object) -> None:
        """End that. The last one puts back what was there, unless somebody else has set a handler since. Idempotent."""
        if id(asker) not in self._askers:
            return
        self._askers.discard(id(asker))
        if not self._askers and threading.get_ident() == threading.main_thread().ident:
            if signal.getsignal(signal.SIGTERM) == self._handle:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._pipe.close()

    def look(self) -> None:
        """Send SIGTERM once more if the main thread has overlooked it. To be called every so often, in other threads.

        Some 2 µs.
        """
        has_come = bool(self._overlooked_looks) or signal.SIGTERM in self._pipe.read()
        if not has_come or self._number:
            return
        self._overlooked_looks += 1
        if self._overlooked_looks > 1:  # it has had time enough
            self._is_repeating = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def after_fork_in_child(self) -> None:
        """What comes to the child is none of the parent's business."""
        self._overlooked_looks = 0
        self.is_held_off = self._is_repeating = False
        self._pipe.reopen()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_repeated, self._is_repeating = self._is_repeating, False
        if not self._askers:  # the last one left in another thread, where the handler could not be put back
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.is_held_off and not (is_repeated and self._number):
            self._number = number
            raise Terminated(number)


class _Pipe:
    """Where the numbers of the signals go that this process gets, unless somebody else (asyncio) has them sent to him.

    Opened and closed in the main thread.
    """

    def __init__(self) -> None:
        self._reader = self._writer = -1

    def open(self) -> None:
        """Begin. Idempotent."""
        if self._reader >= 0 or not hasattr(signal, "pthread_kill"):
            return
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        found = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if found == -1:
            self._reader, self._writer = reader, writer
        else:
            signal.set_wakeup_fd(found)
            os.close(reader)
            os.close(writer)

    def read(self) -> bytes:
        """What has come since the last time."""
        try:
            return os.read(self._reader, 512) if self._reader >= 0 else b""
        except OSError:  # nothing, or it was closed just now
            return b""

    def close(self) -> None:
        """End. Idempotent."""
        if self._reader >= 0:
            found = signal.set_wakeup_fd(-1)
            if found not in (-1, self._writer):
                signal.set_wakeup_fd(found)
            for handle in (self._reader, self._writer):
                os.close(handle)
            self._reader = self._writer = -1

    def reopen(self) -> None:
        """In a forked child, where the parent reads what comes out of the old one."""
        if self._reader >= 0:
            self.close()
            self.open()


LOOK_INTERVAL_S = 0.2

termination = Termination()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=termination.after_fork_in_child)
