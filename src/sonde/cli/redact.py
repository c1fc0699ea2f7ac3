"""``sonde redact``: a copy of a store without the secrets that the original still has."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import click

from sonde.cli.documents import RedactDocument, fields_text
from sonde.cli.opening import open_sqlite, require_folder, require_other_file, tell_what_waits
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note, print_json
from sonde.cli.program import program
from sonde.cli.progress import Advance, progress
from sonde.cli.wording import bytes_text, plural, printable
from sonde.errors import ConfigError, SondeError, StoreNotFoundError
from sonde.events import RecordedEvent, encode_data, sanitize
from sonde.query import resolve_session
from sonde.redaction import SecretRedactor, SecretRule
from sonde.store import EventStore, Record, SQLiteStore

_BATCH_EVENTS = 2_000
_BATCH_BYTES = 8 * 1024 * 1024
_BESIDE = ("", "-wal", "-shm", "-journal")
_MARKER = re.compile(rb"\[REDACTED:([a-z0-9_]+)")
_NOTES = ("$replaced", "$$replaced")
_CUT = "cut from "


@click.command(epilog=fields_text(RedactDocument))
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@click.option("--all", "redact_all", is_flag=True, help="All sessions, in the order of their commits.")
@click.option("-o", "--output", "--out", "out", metavar="FILE", required=True, help="The copy, which mustn't exist.")
@click.option("--rule", "rules", multiple=True, metavar="NAME=REGEX", help="A pattern of your own, in RE2's syntax.")
@click.option("--key", "keys", multiple=True, metavar="NAME", help="A key of your own; =NAME is compared whole.")
@click.option("--keep-key", "keep_keys", multiple=True, metavar="NAME", help="A key that holds no secret here.")
@click.option("--fingerprints", is_flag=True, help="Mark equal secrets alike, as in [REDACTED:api_key:1f0c22ab].")
@click.option(
    "--fingerprint-key-file", metavar="KEYFILE", help="The key to mark them with; without it a new, random one."
)
@click.option("--text-bytes-max", type=int, metavar="N", help="Cut longer texts, with their true size on record.")
@json_option
@db_option
def command(
    sessions: tuple[str, ...],
    *,
    redact_all: bool,
    out: str,
    rules: tuple[str, ...],
    keys: tuple[str, ...],
    keep_keys: tuple[str, ...],
    fingerprints: bool,
    fingerprint_key_file: str | None,
    text_bytes_max: int | None,
    as_json: bool,
    db: str | None,
) -> None:
    """Write a copy of what was recorded, without secrets, into the new store FILE.

    SESSION is an id, the beginning of one, or "last". For what was recorded with redact=False, or before you knew a
    rule. The store itself is only read. Events keep writer, number, time and order; checksums are those of the new
    content, versions and positions are given anew. What isn't looked at: types and ids, since they are what events are
    found by. FILE appears when it is whole.

    \b
    Examples:
      sonde redact last -o to-share.db
      sonde redact --all -o clean.db --key customer_name --rule 'employee=\\bEMP-[0-9]{6}\\b'
    """
    if bool(sessions) == redact_all:
        raise click.UsageError(
            "--all and a SESSION contradict each other; give one of them."
            if redact_all
            else "name what to copy: a SESSION (such as last), or --all."
        )
    redactor = SecretRedactor(
        rules=[_rule(given) for given in rules],
        keys=keys,
        keep_keys=keep_keys,
        fingerprints=fingerprints,
        fingerprint_key=None if fingerprint_key_file is None else _key_in(fingerprint_key_file),
        text_bytes_max=text_bytes_max,
    )
    require_folder(out, "write a redacted copy to")
    require_other_file(db, out, "-o")
    for path in (f"{out}{suffix}" for suffix in _BESIDE):
        if os.path.lexists(path):
            raise click.BadParameter(f"'{path}' exists; name another file, or remove it first.", param_hint="-o")
    with open_sqlite(db) as source:
        tell_what_waits(source)
        _require_identities(source)
        streams = [resolve_session(source, name) for name in sessions]
        copy = _Copy(redactor)
        with (
            _folder_beside(out) as folder,
            SQLiteStore(os.path.join(folder, "copy.db")) as target,
        ):
            with progress("redacting", _total(source, streams)) as advance:
                copy.write(_events(source, streams), target, advance)
            with progress("copying") as advance:
                target.backup(out, progress=advance)
        document = copy.document(source.url, os.path.abspath(out))
    if as_json:
        print_json(document)
    else:
        _print_report(document, out)


def _folder_beside(out: str) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(
            prefix=f".{os.path.basename(out)[:100]}.", suffix=".part", dir=os.path.dirname(out) or "."
        )
    except OSError as error:
        raise SondeError(
            f"cannot write a redacted copy to '{out}': {error.strerror or error}; expected a folder that can be "
            "written to"
        ) from error


class _Copy:
    """Events on their way into the copy, and what was taken out of them."""

    def __init__(self, redactor: SecretRedactor) -> None:
        self._redactor = redactor
        self._replaced: Counter[str] = Counter()
        self._streams: set[str] = set()
        self._events = self._changed = self._cut = 0

    def write(self, events: Iterable[RecordedEvent], target: EventStore, advance: Advance) -> None:
        """Write all events, some at a time."""
        batch: list[tuple[RecordedEvent, bytes]] = []
        size_bytes = 0
        for event in events:
            data_json = encode_data(sanitize(event.data))
            batch.append((event, data_json))
            size_bytes += len(data_json)
            if len(batch) == _BATCH_EVENTS or size_bytes >= _BATCH_BYTES:
                self._append(batch, target)
                advance(self._events)
                batch = []
                size_bytes = 0
        self._append(batch, target)

    def _append(self, batch: list[tuple[RecordedEvent, bytes]], target: EventStore) -> None:
        encoded = [data_json for _, data_json in batch]
        for index in self._redactor.suspects(encoded):
            data = sanitize(batch[index][0].data)
            redacted = self._redactor.redact(data)
            if redacted is not data:
                data_json = encode_data(redacted)
                self._count(data, encoded[index], redacted, data_json)
                encoded[index] = data_json
        target.append_batch(
            [
                Record(event.stream_id, event.writer_id, event.seq, event, data_json)
                for (event, _), data_json in zip(batch, encoded, strict=True)
            ]
        )
        self._events += len(batch)
        self._streams.update(event.stream_id for event, _ in batch)

    def _count(self, data: dict[str, Any], data_json: bytes, redacted: dict[str, Any], redacted_json: bytes) -> None:
        """By the marks that are there now and were not before: a redacted event can come in with some."""
        self._changed += 1
        new = Counter(_MARKER.findall(redacted_json)) - Counter(_MARKER.findall(data_json))
        self._replaced.update({kind.decode(): count for kind, count in new.items()})
        self._cut += _cuts(redacted) > _cuts(data)

    def document(self, db: str, path: str) -> RedactDocument:
        """What was done."""
        return RedactDocument(
            db=db,
            path=path,
            sessions=len(self._streams),
            events=self._events,
            changed=self._changed,
            replaced=dict(sorted(self._replaced.items(), key=lambda item: (-item[1], item[0]))),
            cut=self._cut,
            size_bytes=os.path.getsize(path),
        )


def _cuts(data: dict[str, Any]) -> int:
    lists = [notes for name in _NOTES if isinstance(notes := data.get(name), dict)]
    return sum(str(text).startswith(_CUT) for notes in lists for text in notes.values())


def _rule(given: str) -> SecretRule:
    name, sign, pattern = given.partition("=")
    if not sign:
        raise click.BadParameter(f"'{given}' has no name; write it as NAME=REGEX.", param_hint="--rule")
    return SecretRule(name, pattern)


def _key_in(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read(65_536).strip()
    except FileNotFoundError:
        raise StoreNotFoundError(f"cannot read the fingerprint key '{file}': no such file; check the path") from None
    except OSError as error:
        raise ConfigError(
            f"cannot read the fingerprint key '{file}': {error.strerror}; expected a file of 16 bytes or more"
        ) from error


def _require_identities(source: SQLiteStore) -> None:
    """A file of the Go original has no writers to keep; its import is a redacted copy."""
    if any(not event.writer_id for event in source.read_all(limit=1)):
        raise ConfigError(
            f"cannot copy '{source.url}': a file of the Go original, whose events have no identities; import it, which "
            f"redacts as well: {program()} import '{source.url}' --db FILE"
        )


def _events(source: EventStore, streams: list[str]) -> Iterator[RecordedEvent]:
    return chain.from_iterable(map(source.read, dict.fromkeys(streams))) if streams else source.read_all()


def _total(source: EventStore, streams: list[str]) -> int:
    infos = [info for info in source.streams() if not streams or info.stream_id in streams]
    return sum(info.last_version - info.first_version + 1 for info in infos if info.first_version)


def _print_report(document: RedactDocument, out: str) -> None:
    note(
        f"copied {plural(document.events, 'event')} of {plural(document.sessions, 'session')} to '{out}' "
        f"({bytes_text(document.size_bytes)}), {document.changed:,} of them changed"
    )
    for kind, count in document.replaced.items():
        note(f"  {count:,} × {printable(kind)}")
    if document.cut:
        note(f"  texts cut in {plural(document.cut, 'event')}")
    if not document.changed:
        note("  nothing in it looks like a secret; your own: --key NAME, --rule NAME=REGEX")
