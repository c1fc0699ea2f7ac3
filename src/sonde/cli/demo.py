"""``sonde demo``: watch a small agent being recorded."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import click

from sonde.cli.demonstration import API_KEY, ScriptedModel, make_repository, work
from sonde.cli.documents import EventDocument, SessionDocument, event_document, fields_text, session_document
from sonde.cli.line import LineWriter
from sonde.cli.opening import store_path
from sonde.cli.options import db_option, json_option
from sonde.cli.output import data_console, print_json
from sonde.cli.program import program
from sonde.cli.tail import last_position
from sonde.cli.tree import print_session
from sonde.cli.wording import printable
from sonde.errors import ConfigError
from sonde.events import Position, encode_data
from sonde.hub import Subscription
from sonde.query import load_session
from sonde.recorder import DISABLED_VARIABLE, record
from sonde.store import EventStore
from sonde.store import open as open_store

_CHECK_S = 0.1


@click.command(
    short_help="Watch a small coding agent being recorded.", epilog=fields_text(EventDocument, SessionDocument)
)
@json_option
@db_option
@click.option("--session", metavar="NAME", help="Name of the session.")
@click.option("--fast", is_flag=True, help="Do not take the time that a model takes.")
@click.option("--keep", is_flag=True, help="Keep the folder that the agent works in.")
def command(*, db: str | None, session: str | None, fast: bool, keep: bool, as_json: bool) -> None:
    """Watch a small coding agent mend a failing test suite, and being recorded.

    It reads, edits and tests a repository in a temporary folder. All of that is real: the tests run, and the durations,
    exit codes and errors are what happened. Only the model is scripted, so no account and no network is needed. With
    --json it is the events as they happen, then the session.

    \b
    Examples:
      sonde demo
      sonde demo --fast --db demo.db && sonde show last --db demo.db
    """
    console = data_console()
    path = store_path(db)
    with closing(open_store(path)) as store:
        if as_json:
            session_id = _record_agent(store, session, is_fast=fast, keep=keep, as_json=True)
            print_json(session_document(load_session(store, session_id).summary))
            return
        console.print("A small agent mends a failing test suite. All is real but its model, which is scripted.")
        console.print(f"Recording to {printable(path)}\n", style="dim", soft_wrap=True)
        session_id = _record_agent(store, session, is_fast=fast, keep=keep, as_json=False)
        console.print()
        print_session(store, session_id, console)
        _print_redaction(store, session_id)
    _print_next_steps(session_id, f" --db {shlex.quote(db)}" if db else "")


def _record_agent(store: EventStore, session: str | None, *, is_fast: bool, keep: bool, as_json: bool) -> str:
    """Let the agent work, shown live; returns the session's id."""
    start = last_position(store)
    rec = record(store=store, session_id=session, tags=["demo"])
    if rec.stats().db != store.url:
        raise ConfigError(f"cannot show a recording: {DISABLED_VARIABLE} turns recording off; unset it")
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        if as_json:
            view = pool.submit(_print_documents, store, rec.session_id, start, ended)
        else:
            view = pool.submit(_print_events, rec.hub.subscribe())
        with _set_after(ended), rec:  # when it is left, the subscription ends, and the view with it
            folder = Path(tempfile.mkdtemp(prefix="sonde-demo-"))
            try:
                make_repository(folder)
                model = ScriptedModel(is_fast=is_fast)
                work(rec, model, folder, environment={**os.environ, "PAYMENT_API_KEY": API_KEY})
            finally:
                if not keep:
                    shutil.rmtree(folder, ignore_errors=True)
    view.result()
    return rec.session_id


@contextmanager
def _set_after(event: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()


def _print_events(events: Subscription) -> None:
    """Print events as they come: what sonde tail -f shows to whoever looks from another terminal."""
    console = data_console()
    writer = LineWriter()
    for event in events:
        line = writer.line(event)
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            click.echo(line.plain)


def _print_documents(store: EventStore, session_id: str, after: Position, ended: threading.Event) -> None:
    """Print events as they are committed, with their places in the store, which the hub does not know."""
    is_last = False
    while not is_last:
        is_last = ended.is_set()  # before reading: what came until then is read
        for event in store.follow(after, stream_id=session_id, timeout_s=_CHECK_S):
            after = event.position
            print_json(event_document(event))


def _print_redaction(store: EventStore, session_id: str) -> None:
    """Say what became of the API key that the tests print, as far as the store really bears it out."""
    found = [line for event in store.read(session_id) for line in str(event.data.get("stdout", "")).splitlines()]
    if any(API_KEY.encode() in encode_data(event.data) for event in store.read(session_id)):
        return
    redacted = next((line for line in found if "PAYMENT_API_KEY" in line), None)
    if redacted is not None:
        data_console().print("\nThe tests printed an API key (a made-up one). The store holds instead:")
        click.echo(f"  {printable(redacted)}")


def _print_next_steps(session_id: str, where: str) -> None:
    console = data_console()
    name = program()
    console.print("\nLook further:")
    commands = (
        ("sessions", "all that was recorded"),
        (f"show {shlex.quote(session_id)} --failures", "what went wrong in this one"),
        ("stats", "counts, durations, tokens and cost"),
        (f"export {shlex.quote(session_id)}", "take it elsewhere"),
        ("tail -f", "watch the next one live, while it runs"),
    )
    width = max(len(words) for words, _ in commands) + len(name) + len(where) + 3
    for words, meaning in commands:
        console.print(f"  {name} {words}{where}".ljust(width), style="bold", end=" ", soft_wrap=True)
        console.print(meaning, style="dim", soft_wrap=True)
    console.print(f"\nRecord your own: {name} run -- python my_agent.py, or sonde.record() in it.", soft_wrap=True)
