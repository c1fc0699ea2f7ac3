"""``sonde demo``: watch a small agent being recorded."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from sonde.cli.demonstration import API_KEY, ScriptedModel, make_repository, work
from sonde.cli.line import LineWriter
from sonde.cli.opening import store_path
from sonde.cli.options import db_option
from sonde.cli.output import data_console
from sonde.hub import Subscription
from sonde.recorder import Recorder, record
from sonde.store import EventStore

TAGS = ("demo",)


@click.command(short_help="Watch a small coding agent being recorded.")
@db_option
@click.option("--session", metavar="NAME", help="Name of the session.")
@click.option("--fast", is_flag=True, help="Do not take the time that a model takes.")
@click.option("--keep", is_flag=True, help="Keep the agent's repository afterwards.")
def command(*, db: str | None, session: str | None, fast: bool, keep: bool) -> None:
    """Watch a small coding agent mend a failing test suite, and being recorded.

    It reads, edits and tests a repository in a temporary folder. All of that is real: the tests run, the durations,
    exit codes and errors are what happened. Only the model is scripted, so no account and no network is needed.
    """
    console = data_console()
    where = store_path(db)
    console.print("A small agent mends a failing test suite. Everything is real but its model, which is scripted.")
    console.print(f"Recording to {where}\n", style="dim", soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="sonde-demo-"))
    try:
        make_repository(folder)
        with record(db, session_id=session, tags=TAGS) as rec, _shown_live(rec):
            work(
                rec,
                ScriptedModel(is_fast=fast),
                folder,
                environment={**os.environ, "PAYMENT_API_KEY": API_KEY},
            )
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _shown_live(rec: Recorder) -> Iterator[None]:
    """Print the events of a recorder as they happen."""
    subscription = rec.hub.subscribe()
    thread = threading.Thread(target=_print_events, args=(subscription,), name="sonde-demo-view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        rec.hub.flush()
        subscription.close()
        thread.join()


def _print_events(subscription: Subscription) -> None:
    console = data_console()
    writer = LineWriter()
    for event in subscription:
        console.print(writer.line(event), no_wrap=True, overflow="ellipsis", crop=console.is_terminal)
