"""Capture: what a command prints, passed on as it comes, and kept in part."""

from __future__ import annotations

import fcntl
import os
import termios
import threading
from types import TracebackType
from typing import Self

KEPT_BYTES = 60_000
"""Of each stream, half from its beginning and half from its end; a little less than what an operation keeps."""

# A process that the command left behind may hold its output open for ever, and the command has ended.
_LINGER_S = 1.0

_HALF = KEPT_BYTES // 2
_CHUNK_BYTES = 65536
_STREAMS = {1: "stdout", 2: "stderr"}


class Excerpt:
    """The beginning and the end of a stream of bytes, in bounded memory. For one thread.

    >>> excerpt = Excerpt()
    >>> excerpt.add(b"a" * 50_000)
    >>> excerpt.add(b"b" * 50_000)
    >>> excerpt.size_bytes, str(excerpt).startswith("aaa"), str(excerpt).endswith("bbb")
    (100000, True, True)
    >>> str(excerpt).splitlines()[1]
    '… 40,000 bytes left out …'
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.size_bytes = 0
        self._head = b""
        self._tail = b""

    def add(self, data: bytes) -> None:
        """The next bytes."""
        self.size_bytes += len(data)
        room = _HALF - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-_HALF:] if room < len(data) else self._tail

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self.size_bytes <= KEPT_BYTES

    def __str__(self) -> str:
        """As text; what is no UTF-8 is marked."""
        if self.is_whole:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (self._head, self._tail))
        return f"{head}\n… {self.size_bytes - KEPT_BYTES:,} bytes left out …\n{tail}"


class OutputCapture:
    """Stands between a command and sonde's stdout and stderr; each that is a terminal is one for the command too.

    Keyboard and job control stay with the real terminal, which is still the command's stdin and its controlling
    terminal. Where the two streams are shown in one place, lines may swap when both are written within microseconds.
    """

    def __init__(self) -> None:
        """Open a pseudo-terminal or a pipe for each stream."""
        self._streams = [_Stream(number) for number in _STREAMS if _is_open(number)]

    @property
    def targets(self) -> dict[int, int]:
        """For the command: its file number → the open one to put there."""
        return {stream.number: stream.inner for stream in self._streams}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.start()  # so that a command that could not be started leaves nothing open either
        for stream in self._streams:
            stream.thread.join(_LINGER_S)

    def start(self) -> None:
        """The command runs, or never will: close its side here, and begin to pass on what it writes."""
        for stream in self._streams:
            stream.start()

    def resize(self) -> None:
        """The real terminal changed its size; so do those of the command."""
        for stream in self._streams:
            stream.resize()

    def data(self) -> dict[str, str | int]:
        """What an operation records: ``stdout``, ``stderr``, and their sizes where they are not whole."""
        found: dict[str, str | int] = {}
        for stream in self._streams:
            name = _STREAMS[stream.number]
            found[name] = str(stream.excerpt)
            if not stream.excerpt.is_whole:
                found[f"{name}_bytes"] = stream.excerpt.size_bytes
        return found


class _Stream:
    def __init__(self, number: int) -> None:
        self.number = number
        self.excerpt = Excerpt()
        self._is_terminal = os.isatty(number)
        self.outer, self.inner = os.openpty() if self._is_terminal else os.pipe()
        if self._is_terminal:
            settings = termios.tcgetattr(number)
            settings[1] &= ~termios.OPOST  # line ends are the real terminal's to treat, once
            termios.tcsetattr(self.inner, termios.TCSANOW, settings)
            self.resize()
        self.thread = threading.Thread(target=self._pass_on, name=f"sonde-capture-{number}", daemon=True)
        self._is_started = False

    def resize(self) -> None:
        if self._is_terminal:
            size = fcntl.ioctl(self.number, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self.outer, termios.TIOCSWINSZ, size)

    def start(self) -> None:
        if not self._is_started:
            self._is_started = True
            os.close(self.inner)
            self.thread.start()

    def _pass_on(self) -> None:
        """Copy until the last writer has closed. The command waits while nobody reads, as it would without sonde."""
        try:
            while data := os.read(self.outer, _CHUNK_BYTES):
                self.excerpt.add(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self.number, rest) :]
        except OSError:
            # A terminal that all have closed says EIO instead of giving nothing. Or the reader of our own output is
            # gone: then closing lets the command meet the same, SIGPIPE.
            return
        finally:
            os.close(self.outer)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
