"""Child: a command that runs in the place of sonde: same terminal, same signals, same exit status."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sonde.cli.capture import OutputCapture

FORWARDED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGCONT,
    }
)
_BLOCKED = FORWARDED | {signal.SIGCHLD}

# The terminal sends these to its whole foreground group, so the child, which is in sonde's group, has them already.
_FROM_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH})
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})

# Python ignores these for itself, which exec would hand down: `yes | head` would not end.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

_FIRST_SAMPLE_S = 0.02
_SAMPLE_EVERY_S = 0.25

# The kernel adds up a process's memory lazily, some hundred kilobytes a thread.
_SLACK_BYTES = 2_000_000

_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended, and what it took.

    Attributes:
        exit_code: its exit code; negative, the signal that killed it.
        user_cpu_s: CPU seconds in its own code, the children that it waited for included.
        system_cpu_s: CPU seconds in the kernel on its behalf.
        max_rss_bytes: peak resident memory of the largest process among those; below sonde's own peak, that of the
            child alone as last sampled; ``None`` where neither is known.
    """

    exit_code: int
    user_cpu_s: float
    system_cpu_s: float
    max_rss_bytes: int | None

    @property
    def shell_code(self) -> int:
        """The exit code as a shell gives it: 128 + n for signal n."""
        return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code


@contextmanager
def held_signals() -> Iterator[None]:
    """Keep the signals that are meant for the child pending, in this thread and in all that it starts, for ``wait``.

    To be entered before the recorder starts its threads: a thread that does not block SIGTERM would take it, and the
    process would die with the child unrecorded. What is still pending at the end came too late for the child and is
    dropped.
    """
    # Inherited as ignored (by a parent that wants no zombies), SIGCHLD would never come, and the status would be lost.
    found_handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    found_mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        yield
    finally:
        while signal.sigtimedwait(_BLOCKED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, found_mask)
        signal.signal(signal.SIGCHLD, found_handler or signal.SIG_DFL)


class Child:
    """A running command. It inherits stdin, stdout, stderr, the process group and with it the terminal.

    For the main thread, inside :func:`held_signals`.
    """

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], capture: OutputCapture | None = None
    ) -> None:
        """Start ``command``, found on ``PATH``; with ``capture``, its output goes there.

        Raises:
            OSError: it cannot be started; ``FileNotFoundError`` and ``PermissionError`` say why.
            KeyboardInterrupt: an ending signal came before the start.
        """
        if signal.sigpending() & _ENDING:
            raise KeyboardInterrupt
        self._capture = capture
        targets = capture.targets if capture is not None else {}
        self._sampled_peak_bytes: int | None = None
        # Not subprocess.Popen: it hands the blocked signals down, and its remedy (preexec_fn) runs Python between fork
        # and exec, beside the recorder's threads, where any lock may be held for ever.
        self.pid = os.posix_spawnp(
            command[0],
            list(command),
            dict(environment),
            file_actions=[(os.POSIX_SPAWN_DUP2, inner, number) for number, inner in targets.items()],
            setsigmask=(),
            setsigdef=_IGNORED_BY_PYTHON,
        )
        # After the start, which returns when the child has its own memory: until then it grew with ours.
        self._own_peak_bytes = _own_peak_bytes() + _SLACK_BYTES
        if capture is not None:
            capture.start()

    def wait(self) -> ChildEnd:
        """Wait for the end of the child, and hand on the signals that come meanwhile."""
        pause_s: float | None = _FIRST_SAMPLE_S
        while True:
            info = signal.sigwaitinfo(_BLOCKED) if pause_s is None else signal.sigtimedwait(_BLOCKED, pause_s)
            if info is None:
                pause_s = min(2 * (pause_s or 0), _SAMPLE_EVERY_S) if self._sample() else None
                continue
            if info.si_signo == signal.SIGCHLD:
                end = self._reap()
                if end is not None:
                    return end
                continue
            is_known = info.si_signo in _FROM_TERMINAL and info.si_code > 0  # above 0, the kernel sent it
            if info.si_signo == signal.SIGWINCH and self._capture is not None:
                self._capture.resize()
                is_known = False  # the child has looked too early
            if not is_known:
                self._send(info.si_signo)

    def _sample(self) -> bool:
        """Look at the child's peak memory; whether another look is worth it: above sonde's peak, the kernel tells."""
        peak_bytes = _peak_bytes(self.pid)
        if peak_bytes is not None:
            self._sampled_peak_bytes = peak_bytes
        return peak_bytes is not None and peak_bytes <= self._own_peak_bytes

    def _reap(self) -> ChildEnd | None:
        """The end, if it has come. A child that stopped itself stops sonde too, so that the shell takes over.

        Ctrl-Z needs none of this: the terminal stops both.
        """
        pid, status, usage = os.wait4(self.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            if _in_foreground():  # else no shell waits for the news, and nobody would wake sonde again
                os.kill(os.getpid(), signal.SIGSTOP)
                self._send(signal.SIGCONT)
            return None
        max_rss_bytes = usage.ru_maxrss * _MAXRSS_UNIT_BYTES
        return ChildEnd(
            exit_code=os.waitstatus_to_exitcode(status),
            user_cpu_s=usage.ru_utime,
            system_cpu_s=usage.ru_stime,
            # At exec the kernel books the spawning process's peak as the new one's, so one that is no higher than
            # sonde's own says nothing about the child.
            max_rss_bytes=max_rss_bytes if max_rss_bytes > self._own_peak_bytes else self._sampled_peak_bytes,
        )

    def _send(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return  # not reaped yet, so the pid is still its own: this cannot hit a stranger


def _in_foreground() -> bool:
    """Whether a terminal's user is looking at this process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _own_peak_bytes() -> int:
    """Peak resident memory of this program. ``getrusage`` would count that of whoever started it, as above."""
    peak_bytes = _peak_bytes("self")
    if peak_bytes is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT_BYTES
    return peak_bytes


def _peak_bytes(process: int | str) -> int | None:
    """Peak resident memory of what a process runs now; ``None`` if it has ended, or the system isn't Linux."""
    try:
        with open(f"/proc/{process}/status", "rb") as status:  # bytes: it has the program's name, which may be any
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:")), None)
    except OSError:
        return None
