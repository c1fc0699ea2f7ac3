"""``sonde run``: record a command as a session."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import time
from contextlib import nullcontext
from typing import NamedTuple

import click

from sonde.cli.capture import OutputCapture
from sonde.cli.child import Child, ChildEnd, held_signals
from sonde.cli.main import EXIT_INTERRUPTED
from sonde.cli.options import db_option, json_option
from sonde.cli.program import program
from sonde.errors import SondeError
from sonde.events import EventType
from sonde.instrument import Operation
from sonde.recorder import (
    DB_VARIABLE,
    PROFILE_VARIABLE,
    SESSION_VARIABLE,
    TRACEPARENT_VARIABLE,
    Recorder,
    default_db,
    record,
    traceparent,
)
from sonde.store import open as open_store

# As env, timeout, nohup and docker do: what is below 125 is the command's own.
EXIT_OWN_FAILURE = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

# Only a few events are sonde's own here; the child writes its own share itself.
CLOSE_TIMEOUT_S = 5.0


def _note(text: str) -> None:
    # Not the note of sonde.cli.output: that loads rich, a third of the time until the command starts.
    try:
        click.echo(text, err=True)
    except OSError:
        return  # stderr is full or gone: the command's exit code matters more than our words


class RunCommand(click.Command):
    """A command whose usage errors cannot be taken for the recorded command's exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a usage error exits with 125 instead of 2."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.exit_code = EXIT_OWN_FAILURE  # type: ignore[misc]  # kept, it has the context and the suggestions
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The JSON fields. Not as the others have it: loading them would hold up the recorded command."""
        from sonde.cli.documents import RunDocument, fields_text

        self.epilog = fields_text(RunDocument)
        super().format_epilog(ctx, formatter)


class _Run(NamedTuple):
    """How the command went: ``end`` is ``None`` if it did not start, ``error`` says why."""

    exit_code: int
    duration_s: float
    end: ChildEnd | None = None
    error: str = ""


@click.command(
    cls=RunCommand,
    short_help="Record a command as a session.",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] --",
)
@db_option
@click.option("--session", metavar="NAME", help="Name of the session; one that exists is continued.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="A word to find the session by. May be repeated.")
@click.option("--title", metavar="TEXT", help="What this run is for.")
@click.option("--capture", is_flag=True, help="Record what the command prints too: of each stream up to 60 kB.")
@click.option(
    "--profile",
    is_flag=True,
    help="Let the program record where its time goes, if it calls sonde.record(). Python only.",
)
@click.option("--quiet", "-q", is_flag=True, help="Do not say at the end where the recording is.")
@json_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD [ARG]...")
def command(
    *,
    db: str | None,
    session: str | None,
    tags: tuple[str, ...],
    title: str | None,
    capture: bool,
    profile: bool,
    quiet: bool,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Record a command as a session: how long it took, how it ended, what it used.

    The command keeps its terminal, its signals and its exit code. A Python program that calls sonde.record() records
    into the same session, unless it names its own. What the command prints is recorded with --capture only. With --json
    the closing note is an object, the last line on stderr: stdout is the command's.

    --profile sets SONDE_PROFILE=1: a Python program that calls sonde.record() then samples itself, for `sonde profile`.
    Another program takes no notice of it; if nothing was profiled, a note says so.

    \b
    Examples:
      sonde run -- python my_agent.py
      sonde run --session nightly --tag ci -- make test

    Exit code: the command's own, 128+n if signal n killed it; 127 if it was not found, 126 if it cannot be executed,
    125 if sonde itself failed.
    """
    url = _absolute(db or default_db())
    with held_signals():
        try:
            # This process waits: its own profile would say nothing, and SONDE_PROFILE is meant for the command.
            recorder = record(url, session_id=session, tags=tags, profile=False)
        except SondeError as error:
            _note(f"sonde: {error}")
            sys.exit(EXIT_OWN_FAILURE)
        started_ns = time.time_ns()
        ran = _run(recorder, command, url=url, title=title, has_capture=capture, is_profiled=profile)
        incomplete = _close(recorder, ran.exit_code)
    if incomplete:
        _note(f"sonde: {incomplete}")
    has_profile = profile and ran.end is not None and _is_profiled(url, recorder.session_id, since_ns=started_ns)
    if profile and not has_profile and ran.end is not None and not quiet and recorder.stats().committed:
        _note(
            "sonde: no profile was recorded: --profile is for Python programs that call sonde.record() and leave "
            "profile= and session_id= alone; for another Python program try: py-spy record -o profile.svg -- CMD"
        )
    if as_json and not quiet:
        _print_document(recorder, ran, url, error=ran.error or incomplete)
    elif not quiet and recorder.stats().committed:
        where = f" --db {shlex.quote(db)}" if db else ""
        name = shlex.quote(recorder.session_id)
        _note(f"sonde: recorded; look at it with: {program()} show {name}{where}")
        if has_profile:
            _note(f"sonde: and at where its time went: {program()} profile {name}{where}")
    sys.exit(ran.exit_code)


def _close(recorder: Recorder, code: int) -> str:
    """Close the recorder; returns what became of the recording if it isn't whole."""
    try:
        report = recorder.close(CLOSE_TIMEOUT_S, error=_error_of(code))
    except Exception as error:  # noqa: BLE001  # whatever became of the recording, the command's exit code stays
        return f"the recording is incomplete: {error}"
    return "" if report else f"the recording is incomplete: {report}"


def _print_document(recorder: Recorder, ran: _Run, url: str, *, error: str) -> None:
    import msgspec

    from sonde.cli.documents import RunDocument

    end = ran.end
    document = RunDocument(
        session_id=recorder.session_id,
        db=url,
        exit_code=ran.exit_code,
        duration_s=ran.duration_s,
        user_cpu_s=end.user_cpu_s if end else None,
        system_cpu_s=end.system_cpu_s if end else None,
        max_rss_bytes=end.max_rss_bytes if end else None,
        events=recorder.stats().committed,
        error=error,
    )
    _note(msgspec.json.encode(document).decode())


def _run(
    recorder: Recorder, command: tuple[str, ...], *, url: str, title: str | None, has_capture: bool, is_profiled: bool
) -> _Run:
    """Run the command as an operation of the recorder; its exit code is what a shell would give."""
    started_s = time.monotonic()
    with recorder.shell(list(command), **({"title": title} if title else {})) as op:
        try:
            with OutputCapture() if has_capture else nullcontext() as capture:
                environment = _environment(recorder, op, url)
                if is_profiled:
                    environment[PROFILE_VARIABLE] = "1"
                end = Child(command, environment=environment, capture=capture).wait()
        except OSError as error:
            code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
            reason = f"cannot run {command[0]!r}: {_reason(command[0], error)}"
            _note(f"sonde: {reason}")
            op.fail(error)
            op.set(exit_code=code)
            return _Run(code, time.monotonic() - started_s, error=reason)
        except KeyboardInterrupt as error:
            op.fail(error)
            return _Run(EXIT_INTERRUPTED, time.monotonic() - started_s, error="interrupted before it started")
        duration_s = time.monotonic() - started_s
        usage = {"user_cpu_s": end.user_cpu_s, "system_cpu_s": end.system_cpu_s, "max_rss_bytes": end.max_rss_bytes}
        op.set(exit_code=end.exit_code, **{key: value for key, value in usage.items() if value is not None})
        if capture is not None:
            op.set(**capture.data())
        return _Run(end.shell_code, duration_s, end)


def _environment(recorder: Recorder, op: Operation, url: str) -> dict[str, str]:
    """What makes a ``sonde.record()`` in the child record into this session, as a part of this operation."""
    if not op.span_id:  # recording is disabled, and the child inherits that
        return dict(os.environ)
    return {
        **os.environ,
        DB_VARIABLE: url,
        SESSION_VARIABLE: recorder.session_id,
        TRACEPARENT_VARIABLE: traceparent(op.trace_id, op.span_id),
    }


def _is_profiled(url: str, session_id: str, *, since_ns: int) -> bool:
    """Whether the store has a profile of this run: an earlier one of the same session does not count."""
    try:
        with open_store(url, mode="ro") as store:
            events = store.read_by_type(session_id, EventType.PROFILE.value)
            return any(event.time_ns >= since_ns for event in events)
    except SondeError:
        return False


def _absolute(url: str) -> str:
    """The store's place, for a child that may be in another folder."""
    return url if "://" in url or url == ":memory:" else os.path.abspath(url)


def _error_of(code: int) -> BaseException | None:
    """What ends the session: an interrupted command cancels it, a failed one fails it."""
    if code == EXIT_INTERRUPTED:
        return KeyboardInterrupt()
    return SystemExit(code) if code else None


def _reason(program: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        if os.path.exists(program):
            return "the interpreter that its first line names was not found"
        return "no such command; expected a program on PATH or a path to one"
    if error.errno == errno.ENOEXEC:
        return "not an executable format; a script needs a first line such as #!/bin/sh"
    return error.strerror or type(error).__name__
