"""Opening: from ``--db`` to an open store, with what to do where there is none."""

from __future__ import annotations

import os
import re

import click

from sonde.cli.output import note
from sonde.cli.program import program
from sonde.cli.wording import plural
from sonde.errors import ConfigError, StoreNotFoundError
from sonde.journal import folder_of
from sonde.recorder import DB_VARIABLE, Recovery, default_db, pending
from sonde.store import EventStore, SQLiteStore
from sonde.store import open as open_store


def store_path(db: str | None) -> str:
    """The store that a command means: ``--db``, else ``SONDE_DB``, else the user's own file."""
    return db or default_db()


def open_for_reading(db: str | None) -> EventStore:
    """Open the store that a command reads; it is never written.

    Raises:
        StoreNotFoundError: there is none; the message says how to make one.
        StoreError: it cannot be read.
    """
    store = _opened(db)
    tell_what_waits(store)
    return store


def tell_what_waits(store: EventStore) -> None:
    """Say what killed processes left that isn't in the store yet."""
    for text in left_texts(pending(store)):
        note(text)


def left_texts(left: Recovery) -> list[str]:
    """What to say of what killed processes left beside the store, and of what they took along."""
    texts = []
    if events := left.events - left.reserved:
        verb, them = ("waits", "it") if events == 1 else ("wait", "them")
        texts.append(
            f"{plural(events, 'event')} of a killed process {verb} in the journal; the next writer, or "
            f"`{program()} doctor --recover`, takes {them} in"
        )
    if left.reserved:
        verb, them = ("waits", "it") if left.reserved == 1 else ("wait", "them")
        texts.append(
            f"{plural(left.reserved, 'event')} of a killed process with a redactor of its own {verb} in the "
            f"journal; run it again, and it takes {them} in, or let sonde's rules do: `{program()} doctor --recover "
            "--default-rules`"
        )
    if left.missed:
        about = "some" if left.is_estimate else "up to"
        texts.append(f"a kill took {about} {plural(left.missed, 'event')}; the next writer records it as a gap")
    return texts


def _opened(db: str | None) -> EventStore:
    path = store_path(db)
    try:
        return open_store(path, mode="ro")
    except StoreNotFoundError:
        if os.path.exists(os.path.expanduser(path)):  # there is a file, and nothing in it
            raise
        raise StoreNotFoundError(missing(db)) from None


def missing(db: str | None) -> str:
    """What to say where there is no store: nothing was recorded yet, or the path is wrong."""
    path = store_path(db)
    if db:
        return (
            f"cannot open event store '{path}': no such file; check --db, or record into it: "
            f"{program()} run --db {path} -- CMD"
        )
    if os.environ.get(DB_VARIABLE):
        return (
            f"cannot open event store '{path}': no such file; check ${DB_VARIABLE}, or record into it: "
            f"{program()} run -- CMD"
        )
    name = program()
    return f"nothing is recorded yet (no file '{path}'); try {name} demo, or record a program: {name} run -- CMD"


def require_folder(file: str, operation: str) -> None:
    """Refuse to write ``file`` into a folder that does not exist: it is more often misspelt than meant.

    Raises:
        StoreNotFoundError: there is no such folder; ``operation`` says what was tried.
    """
    folder = os.path.dirname(file) or "."
    if not os.path.isdir(folder):
        raise StoreNotFoundError(
            f"cannot {operation} '{file}': there is no folder '{folder}'; check the path, or make the folder first"
        )


def require_other_file(db: str | None, file: str, option: str) -> None:
    """Refuse to write ``file`` over the store, or where SQLite and sonde keep what belongs to it.

    Raises:
        BadParameter: it is one of those, or "-"; ``option`` says how it was given.
    """
    if file == "-":
        raise click.BadParameter("'-' names no file; give the path of one.", param_hint=option)
    path = re.sub("^sqlite://", "", store_path(db), flags=re.IGNORECASE)
    store = os.path.abspath(os.path.expanduser(path))
    own = {name for url in (store, os.path.realpath(store)) for name in _names_of(url)}
    place = os.path.realpath(file)
    is_store = os.path.exists(file) and os.path.exists(store) and os.path.samefile(file, store)
    if is_store or place in own or os.path.dirname(place) in own:
        raise click.BadParameter(
            f"'{file}' is the store itself, or lies beside it; name another file.", param_hint=option
        )


def _names_of(url: str) -> list[str]:
    beside = [f"{url}-{kind}" for kind in ("wal", "shm", "journal", "lock", "live")]
    return [os.path.realpath(name) for name in (url, *beside, folder_of(url))]


def open_sqlite(db: str | None) -> SQLiteStore:
    """The same for what only a store in a file can do: be copied, be examined.

    Raises:
        ConfigError: the store is a server's.
        StoreError: as :func:`open_for_reading`.
    """
    store = _opened(db)
    if isinstance(store, SQLiteStore):
        return store
    store.close()
    raise ConfigError(f"cannot use '{store_path(db)}' here: expected a store in a file; use the server's own tools")
