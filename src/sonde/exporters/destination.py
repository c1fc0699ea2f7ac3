"""Destination: a file that appears under its name when it is complete, or not at all."""

from __future__ import annotations

import gzip
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from sonde.errors import ConfigError, SondeError

Out = str | os.PathLike[str] | IO[bytes]
"""Where an export goes: a path, or a binary file that the caller opened, and closes."""


@contextmanager
def open_destination(out: Out, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """A binary file to write an export to.

    A path is written as a temporary file beside it (mode 0600), fsynced and renamed at the end; whatever goes wrong
    before, Ctrl-C included, removes it and leaves what was there. A name that ends in ``.gz`` is compressed. A pipe or
    a device (``/dev/stdout``) is written directly.

    Raises:
        ConfigError: the file exists and ``overwrite`` is false, or the name cannot be one of a file.
        SondeError: it cannot be written (disk full, no permission).
    """
    if not isinstance(out, str | os.PathLike):
        yield out
        return
    path = Path(os.path.realpath(out))  # through a link, so that the file is replaced and not the link
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        raise _refusal(path, error) from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"cannot export to '{path}': it is a folder; give the name of a file in it")
    if mode and not stat.S_ISREG(mode):
        with path.open("wb") as file:
            yield file
        return
    if mode and not overwrite:
        raise _exists(path)
    with _renamed_at_the_end(path, overwrite=overwrite) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed:
                yield cast("IO[bytes]", compressed)
        else:
            yield file


@contextmanager
def _renamed_at_the_end(path: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(name, path)
        else:
            _rename_to_new(name, path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _rename_to_new(name: str, path: Path) -> None:
    """Rename, unless a file of that name has come up meanwhile: a hard link refuses to replace, a rename would."""
    try:
        os.link(name, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links: the moment between the look and the rename stays open
        if path.exists():
            raise _exists(path) from None
        os.replace(name, path)


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"cannot export to '{path}': the file exists; allow overwriting it, or give another name")


def _refusal(path: Path, error: OSError) -> SondeError:
    return SondeError(f"cannot export to '{path}': {error.strerror or error}; expected a folder that can be written to")
