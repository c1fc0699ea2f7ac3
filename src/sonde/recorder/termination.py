"""Termination: SIGTERM ends the program as ``sys.exit`` does, for recorders that ask for it."""

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

    def leave(self, asker: object) -> None:
        """End that. The last one puts back what was there, unless somebody else has set a handler since. Idempotent."""
        if id(asker) not in self._askers:
            return
        self._askers.discard(id(asker))
        is_main = threading.get_ident() == threading.main_thread().ident
        if not self._askers and is_main and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._askers:  # the last one left in another thread, where the handler could not be put back
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self.is_held_off:
            self._number = number
            raise Terminated(number)


termination = Termination()
