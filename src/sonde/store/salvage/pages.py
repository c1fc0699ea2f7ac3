"""Pages: what a damaged SQLite file and the log beside it hold, page by page, without SQLite.

SQLite stops at the first frame of the log that is not what was written, and with it all later commits are gone. Here a
bad frame costs itself: the sums of the frames behind it begin with the sum that it states.

Sources: https://www.sqlite.org/fileformat2.html, "The Database Header" and "The WAL File Format".
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

_MAGIC = b"SQLite format 3\0"
_PAGE_BYTES = 4096  # of every file that sonde makes
_SIZES = frozenset(1 << power for power in range(9, 17))
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_BIG_ENDIAN, _LITTLE_ENDIAN = 0x377F0683, 0x377F0682
_MASK = 0xFFFF_FFFF

_Sum = tuple[int, int]


class Frame(NamedTuple):
    """A page in the log: where it lies, and whether it is what was written."""

    page: int
    offset: int
    is_sound: bool


class Pages:
    """Page images of a file and its log, read with plain reads. Nothing is opened for writing or locked.

    Closing drops the POSIX locks that this process holds on the file through SQLite: not for a file that it has open.

    Attributes:
        size: bytes of a page.
        count: the highest number that a page may have.
        breaks: frames of the log that are not what was written, and that commits follow.
        is_cut: the file ends within a page, or holds fewer pages than its header says.
        missing: how many pages were cut off at its end, as far as the header tells.
    """

    def __init__(self, path: str) -> None:
        """Open the file and look through its log.

        Raises:
            OSError: one of them cannot be read.
        """
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._log = -1
        self._path = path
        try:
            self._file_bytes = os.fstat(self._file).st_size
            if os.path.exists(f"{path}-wal"):
                self._log = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            self._stamps = self._now()
            header = os.pread(self._file, 100, 0)
            self.size = _page_size(header)
            self.breaks = 0
            self._frames: dict[int, int] = {}  # page to the offset of its last sound, committed image
            self._spare: list[Frame] = []
            if self._log >= 0:
                self._look_through_log()
            stored = -(-self._file_bytes // self.size)
            stated = int.from_bytes(header[28:32], "big")
            self.count = max(stored, max(self._frames, default=0))
            self.is_cut = bool(self._file_bytes % self.size) or (
                header[24:28] == header[92:96] and stored < stated and self.count < stated
            )
            whole = max(self._file_bytes // self.size, max(self._frames, default=0))
            self.missing = max(stated - whole, 1) if self.is_cut and stated else int(self.is_cut)
        except BaseException:
            self.close()
            raise

    @property
    def bytes_in_all(self) -> int:
        """Of the file and its log."""
        return sum(size for _, size, _ in self._stamps)

    def header(self) -> bytes:
        """The database's header as it counts now, 100 bytes or fewer."""
        return (self.current(1) or b"")[:100]

    @property
    def has_header(self) -> bool:
        """Whether the first page begins as a database does."""
        return self.header().startswith(_MAGIC)

    def current(self, page: int) -> bytes | None:
        """The page as the last commit left it; what is missing at the end of the file is zero. ``None``: not there."""
        offset = self._frames.get(page)
        if offset is not None:
            return os.pread(self._log, self.size, offset)
        return self._stored(page)

    def spare(self) -> Iterator[tuple[int, bytes, bool]]:
        """Other images of pages: what the log has replaced, damaged frames, and those of an earlier log.

        With each, whether it is what was written; of the file itself, as far as anybody can tell.
        """
        for page in self._frames:
            image = self._stored(page)
            if image is not None:
                yield page, image, True
        for frame in self._spare:
            image = os.pread(self._log, self.size, frame.offset)
            yield frame.page, image.ljust(self.size, b"\0"), frame.is_sound

    def is_unchanged(self) -> bool:
        """Whether the file and its log are still as they were at the beginning."""
        return self._stamps == self._now()

    def close(self) -> None:
        """Close them. Idempotent."""
        for handle in (self._file, self._log):
            if handle >= 0:
                os.close(handle)
        self._file = self._log = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _now(self) -> list[tuple[int, int, int]]:
        found = []
        for path in (self._path, f"{self._path}-wal"):
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return found

    def _stored(self, page: int) -> bytes | None:
        start = (page - 1) * self.size
        if page < 1 or start >= self._file_bytes:
            return None
        return os.pread(self._file, self.size, start).ljust(self.size, b"\0")

    def _look_through_log(self) -> None:
        header = os.pread(self._log, _LOG_HEADER_BYTES, 0)
        if len(header) < _LOG_HEADER_BYTES:
            return
        magic, _, size = struct.unpack(">III", header[:12])
        order = ">" if magic == _BIG_ENDIAN else "<"
        last: _Sum = struct.unpack(">II", header[24:32])
        if _sum(order, (0, 0), header[:24]) == last and size in _SIZES:
            self.size = size
        frames = self._frames_of(order, last)
        if not frames:
            return
        salts = Counter(salt for _, _, salt in frames)
        now = header[16:24] if header[16:24] in salts else frames[0][2]
        # A commit that can only be read as damaged is one: its transaction was acknowledged, and others follow it.
        ends = [index for index, (_, commit, salt) in enumerate(frames) if commit and salt == now]
        end = ends[-1] + 1 if ends else 0
        for index, (frame, _, salt) in enumerate(frames):
            if index < end and frame.is_sound and salt == now:
                if frame.page in self._frames:
                    self._spare.append(Frame(frame.page, self._frames[frame.page], is_sound=True))
                self._frames[frame.page] = frame.offset
            elif index < end:
                self.breaks += 1
                self._spare.append(frame)
        if not self.breaks:
            self._spare = []  # what was written earlier is all in what was written last
        self._spare += _earlier(frames[end:], now)

    def _frames_of(self, order: str, last: _Sum) -> list[tuple[Frame, int, bytes]]:
        """All frames, each with the size of the file if it ends a transaction, and with its salts."""
        found = []
        length = os.fstat(self._log).st_size
        step = _FRAME_HEADER_BYTES + self.size
        for at in range(_LOG_HEADER_BYTES, length - _FRAME_HEADER_BYTES + 1, step):
            frame = os.pread(self._log, step, at)
            page, commit, one, two = struct.unpack_from(">II8xII", frame)
            is_sound = len(frame) == step and _sum(order, last, frame[:8] + frame[24:]) == (one, two)
            last = (one, two)
            found.append((Frame(page, at + _FRAME_HEADER_BYTES, is_sound), commit, frame[8:16]))
        return found


def _earlier(frames: list[tuple[Frame, int, bytes]], now: bytes) -> list[Frame]:
    """Of frames behind the last commit, those of transactions that ended, long ago: each page as it was last."""
    found: dict[int, Frame] = {}
    waiting: list[Frame] = []
    before = b""
    for frame, commit, salt in frames:
        if salt == now or salt != before:
            waiting = []
        before = salt
        if salt == now or not frame.is_sound:
            continue
        waiting.append(frame)
        if commit:
            found.update((ended.page, ended) for ended in waiting)
            waiting = []
    return list(found.values())


def _page_size(header: bytes) -> int:
    size = int.from_bytes(header[16:18], "big") if header.startswith(_MAGIC) else 0
    size = 65_536 if size == 1 else size
    return size if size in _SIZES else _PAGE_BYTES


def _sum(order: str, start: _Sum, content: bytes) -> _Sum:
    """The log's checksum. In pure Python, some 0.2 ms a page."""
    one, two = start
    numbers = struct.unpack(f"{order}{len(content) // 4}I", content[: len(content) // 4 * 4])
    for index in range(0, len(numbers) - 1, 2):
        one = (one + numbers[index] + two) & _MASK
        two = (two + numbers[index + 1] + one) & _MASK
    return one, two
