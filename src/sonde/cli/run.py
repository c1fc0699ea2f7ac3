"""``sonde run``: record a command as a session."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from contextlib import nullcontext

import click

from sonde.cli.capture import OutputCapture
from sonde.cli.child import Child, held_signals
from sonde.cli.main import EXIT_INTERRUPTED
from sonde.cli.options import db_option
from sonde.errors import SondeError
from sonde.instrument import Operation
from sonde.recorder import (
    DB_VARIABLE,
    SESSION_VARIABLE,
    TRACEPARENT_VARIABLE,
    Recorder,
    default_db,
    record,
    traceparent,
)

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
            raise _RunUsageError(error.format_message(), ctx=error.ctx or ctx) from error


class _RunUsageError(click.UsageError):
    exit_code = EXIT_OWN_FAILURE


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
@click.option("--quiet", "-q", is_flag=True, help="Do not say at the end where the recording is.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD [ARG]...")
def command(
    *,
    db: str | None,
    session: str | None,
    tags: tuple[str, ...],
    title: str | None,
    capture: bool,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Record a command as a session: how long it took, how it ended, what it used.

    The command keeps its terminal, its signals and its exit code. A Python program that calls sonde.record() records
    into the same session, unless it names its own. What the command prints is recorded with --capture only.

    \b
    sonde run -- python my_agent.py
    sonde run --session nightly --tag ci -- make test

    Exit code: the command's own, 128+n if signal n killed it; 127 if it was not found, 126 if it cannot be executed,
    125 if sonde itself failed.
    """
    url = _absolute(db or default_db())
    with held_signals():
        try:
            recorder = record(url, session_id=session, tags=tags)
        except SondeError as error:
            _note(f"sonde: {error}")
            sys.exit(EXIT_OWN_FAILURE)
        code = _run(recorder, command, url=url, title=title, has_capture=capture)
        try:
            report = recorder.close(CLOSE_TIMEOUT_S, error=_error_of(code))
            if not report:
                _note(f"sonde: the recording is incomplete: {report}")
        except Exception as error:  # noqa: BLE001  # whatever became of the recording, the command's exit code stays
            _note(f"sonde: the recording is incomplete: {error}")
    if not quiet and recorder.stats().committed:
        where = f" --db {shlex.quote(db)}" if db else ""
        _note(f"sonde: recorded; look at it with: sonde show {shlex.quote(recorder.session_id)}{where}")
    sys.exit(code)


def _run(recorder: Recorder, command: tuple[str, ...], *, url: str, title: str | None, has_capture: bool) -> int:
    """Run the command as an operation of the recorder; returns the exit code that a shell would give."""
    with recorder.shell(list(command), **({"title": title} if title else {})) as op:
        try:
            with OutputCapture() if has_capture else nullcontext() as capture:
                end = Child(command, environment=_environment(recorder, op, url), capture=capture).wait()
        except OSError as error:
            code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
            _note(f"sonde: cannot run {command[0]!r}: {_reason(command[0], error)}")
            op.fail(error)
            op.set(exit_code=code)
            return code
        except KeyboardInterrupt as error:
            op.fail(error)
            return EXIT_INTERRUPTED
        usage = {"user_cpu_s": end.user_cpu_s, "system_cpu_s": end.system_cpu_s, "max_rss_bytes": end.max_rss_bytes}
        op.set(exit_code=end.exit_code, **{key: value for key, value in usage.items() if value is not None})
        if capture is not None:
            op.set(**capture.data())
        return end.shell_code


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
