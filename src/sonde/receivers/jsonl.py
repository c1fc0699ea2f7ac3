"""JSONL: the original's wire form, one event a line, as the original and sonde's own export write it."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import msgspec

from sonde.errors import ConfigError, EventDecodeError
from sonde.events import Event
from sonde.receivers.intake import ImportReport, Intake, Progress
from sonde.redaction import Redactor
from sonde.store.contract import EventStore

DEFAULT_STREAM = "default"
_BOM = b"\xef\xbb\xbf"


def import_jsonl(
    store: EventStore,
    source: str | os.PathLike[str] | IO[bytes],
    *,
    stream_id: str | None = None,
    redactor: Redactor | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Read a file of JSON lines (gzip if its name ends in ``.gz``), or an open binary file, into ``store``.

    Each event goes to ``stream_id``, else to the stream of its session, else to ``default``. What the store has is not
    added again: a line with ``writerId`` and ``seq``, as sonde exports it, is known by these, another by what it says
    (see :mod:`sonde.receivers.intake`). Secrets are taken out by a
    ``SecretRedactor`` unless another redactor is given. Empty lines and a byte order mark are passed over.

    A line that is no event raises, after those before it were imported; with ``skip_bad`` it is counted and listed, and
    the rest is imported. A file that cannot be read to its end, such as cut gzip data, raises either way.
    Streams: what is in memory is a batch, and 100 bytes for each distinct event. Blocks.

    Raises:
        EventDecodeError: a line is no event; the message names file, line and reason.
        ConfigError: the file cannot be read, or not to its end; what came before that is kept.
        StoreError: the store does not take a batch.

    >>> import io
    >>> from sonde.store import SQLiteStore
    >>> store = SQLiteStore(":memory:")
    >>> line = b'{"type":"debug","timestamp":"2026-02-11T09:30:00Z","sessionId":"s-1"}'
    >>> import_jsonl(store, io.BytesIO(line)).imported, import_jsonl(store, io.BytesIO(line)).imported
    (1, 0)
    """
    intake = Intake(store, redactor=redactor, progress=progress)
    with _opened(source) as (file, name):
        for number, line in _lines(file):
            if isinstance(line, Exception):
                raise _unreadable(name, number, line, intake.report())
            try:
                event = Event.from_json(line)
                stream = event.session_id or DEFAULT_STREAM if stream_id is None else stream_id
                intake.add(stream, event, _identity(line))
            except EventDecodeError as error:
                if not skip_bad:
                    intake.flush()
                    raise EventDecodeError(
                        f"cannot import '{name}', line {number}: {error}; mend the line, or skip bad lines"
                    ) from None
                intake.skip(number, str(error))
    return intake.report()


class _Identity(msgspec.Struct, gc=False):
    # The names are those of the JSON; without one of them the line has no identity.
    writerId: Any = msgspec.UNSET  # noqa: N815 - as in the JSON
    seq: Any = msgspec.UNSET


_decode = msgspec.json.Decoder(_Identity).decode
_SEQ_MAX = 2**63 - 1


def _identity(line: bytes) -> tuple[str, int] | None:
    """Writer and number of a line that has both."""
    if b'"writerId"' not in line:
        return None
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # what only Python's json reads: none of sonde's lines
        return None
    if found.writerId is msgspec.UNSET or found.seq is msgspec.UNSET:
        return None
    if type(found.writerId) is not str or not found.writerId:
        raise EventDecodeError("cannot read event: its `writerId` is no name; expected a text, or leave it out")
    if type(found.seq) is not int or not 1 <= found.seq <= _SEQ_MAX:
        raise EventDecodeError(
            "cannot read event: its `seq` is no 64-bit number; expected one from 1 on, or leave it out"
        )
    return found.writerId, found.seq


@contextmanager
def _opened(source: str | os.PathLike[str] | IO[bytes]) -> Iterator[tuple[IO[bytes], str]]:
    if not isinstance(source, str | os.PathLike):
        yield source, str(getattr(source, "name", "<stream>"))
        return
    name = os.fspath(source)
    try:
        opened = cast("IO[bytes]", gzip.open(name) if name.endswith(".gz") else open(name, "rb"))  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(
            f"cannot import '{name}': {error.strerror or error}; expected a readable file of JSON lines"
        ) from error
    with opened as file:
        yield file, name


def _unreadable(name: str, number: int, error: Exception, report: ImportReport) -> ConfigError:
    remedy = "expected gzip data, as the name says" if isinstance(error, gzip.BadGzipFile) else "expected a whole file"
    return ConfigError(
        f"cannot import '{name}' from line {number} on: {error}; {remedy}; events of it that were read and are kept: "
        f"{report.read}"
    )


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | Exception]]:
    """Lines with their numbers, from 1. What ends the file early, such as cut gzip data, comes as the last one."""
    number = 0
    while True:
        number += 1
        try:
            line = file.readline()
        except (EOFError, OSError, zlib.error) as error:
            yield number, error
            return
        if not line:
            return
        line = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if line:
            yield number, line
