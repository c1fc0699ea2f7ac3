"""Target: where a profile goes, looked at before the work and written after it, whole or not at all."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path
from typing import IO

from sonde.errors import ProfileError

Where = str | os.PathLike[str] | IO[bytes]
"""A path, or a binary file that the caller opened, and closes."""

FORMATS = {
    "pprof": (".pb.gz", ".pprof"),
    "speedscope": (".speedscope.json",),
    "collapsed": (".collapsed", ".txt"),
}
"""Format → the endings of names that choose it."""


class Target:
    """A path or a binary file, and the format for it.

    A path is written as a temporary file beside it (mode 0600), fsynced and renamed; what was there is replaced. A pipe
    or a device (``/dev/stdout``) is written directly. A relative path means the folder of the moment it was given.
    """

    def __init__(self, where: Where, *, format: str | None = None) -> None:
        """Look whether it can work.

        Raises:
            ProfileError: it cannot be written, or the format is not known.
        """
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        if isinstance(where, str | os.PathLike):
            self._path = _place_of(where)
            self.name = str(self._path)
        else:
            self._file = where
            self.name = str(getattr(where, "name", f"<{type(where).__name__}>"))
        self.format = self._format_of(format)
        if self._path is None:
            _look_at_file(where, self.name)
        else:
            self._look_at(self._path)

    def write(self, content: bytes) -> None:
        """Write all of it.

        Raises:
            ProfileError: it could not be; nothing is then under the path, or what was there before.
        """
        try:
            if self._file is not None:
                self._file.write(content)
                self._file.flush()
            elif self._path is not None:
                self._replace(self._path, content)
        except (OSError, ValueError) as error:  # ValueError: a file that was closed meanwhile
            raise ProfileError(
                f"cannot write the profile of {len(content)} bytes to {self.name!r}: "
                f"{getattr(error, 'strerror', None) or error}; nothing was kept: make room there, or give another path"
            ) from error

    def _format_of(self, wanted: str | None) -> str:
        if wanted is not None:
            if wanted not in FORMATS:
                raise ProfileError(f"cannot write a profile as {wanted!r}: expected one of {', '.join(FORMATS)}")
            return wanted
        if self._path is None:
            return "pprof"
        for known, endings in FORMATS.items():
            if self.name.endswith(endings):
                return known
        endings = tuple(ending for some in FORMATS.values() for ending in some)
        raise ProfileError(
            f"cannot tell the format of a profile from the name {self._path.name!r}: expected an ending of "
            f"{', '.join(endings)}; or say format='pprof'"
        )

    def _look_at(self, path: Path) -> None:
        try:
            mode = path.stat().st_mode if path.exists() else 0
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(None, "it is a folder")
            if mode and not stat.S_ISREG(mode):
                return
            if mode and not os.access(path, os.W_OK):
                raise PermissionError(None, "the file may not be written")
            handle, name = _make_beside(path)
        except OSError as error:
            raise ProfileError(
                f"cannot write a profile to {self.name!r}: {error.strerror or error}; expected a file in a folder that "
                "exists and can be written to: make it, or give another path"
            ) from error
        os.close(handle)
        os.unlink(name)

    def _replace(self, path: Path, content: bytes) -> None:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        handle, name = _make_beside(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _place_of(where: str | os.PathLike[str]) -> Path:
    """Through a link, so that the file is replaced and not the link; but what a link to a pipe says is no path."""
    place = os.path.abspath(where)
    try:
        is_device = os.path.exists(place) and not os.path.isfile(place)
        return Path(place if is_device else os.path.realpath(place))
    except ValueError as error:
        raise ProfileError(f"cannot write a profile to {place!r}: {error}; give another path") from error


def _make_beside(path: Path) -> tuple[int, str]:
    """A temporary file. Of the name so much that it fits where the name does: a character may be four bytes of 255."""
    return tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".part", dir=path.parent)


def _look_at_file(file: object, name: str) -> None:
    is_writable = getattr(file, "writable", None)
    if isinstance(file, io.TextIOBase) or not hasattr(file, "write"):
        raise ProfileError(f"cannot write a profile to {name!r}: expected a path, or a file opened with mode 'wb'")
    try:
        refused = is_writable is not None and not is_writable()
    except ValueError:
        refused = True
    if refused:
        raise ProfileError(f"cannot write a profile to {name!r}: it is closed or for reading; open it with mode 'wb'")
