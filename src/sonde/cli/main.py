"""The command ``sonde``: its commands, and what an error looks like."""

from __future__ import annotations

import difflib
import errno
import importlib
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from sonde.cli.transliteration import transliterate
from sonde.errors import SessionNotFoundError, SondeError, StoreNotFoundError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_INTERRUPTED = 130

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Command → module in this package, whose attribute ``command`` it is. Loaded when used, so that --help is quick.
COMMANDS = {
    "demo": "demo",
    "run": "run",
    "sessions": "sessions",
    "show": "show",
    "tail": "tail",
    "replay": "replay",
    "stats": "stats",
    "metrics": "metrics",
    "profile": "profile",
    "export": "export",
    "import": "importing",
    "redact": "redact",
    "prune": "prune",
    "backup": "backup",
    "doctor": "doctor",
    "completion": "completion",
}


class _ReaderGoneError(Exception):
    """The reader of stdout went away. click would take a plain ``BrokenPipeError`` for a failure."""


@contextmanager
def _reader_watched() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise _ReaderGoneError from None


class Commands(click.Group):
    """A group whose commands are modules, imported on first use."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse; ``--help`` prints here."""
        with _reader_watched():
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a NUL, which no program is ever given by a shell, would be an error of the system's somewhere."""
        for argument in args:
            if "\0" in argument:
                ctx.fail(f"argument {argument!r} has a NUL character; leave it away")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with _reader_watched():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; an unknown one fails with the nearest that there is."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "sonde --help lists them"
            ctx.fail(f"No such command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        module = COMMANDS.get(name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"sonde.cli.{module}").command
        if ctx.obj is not None:
            ctx.obj()
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sonde", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def sonde(*, debug: bool) -> None:
    """sonde, the flight recorder for AI agents.

    \b
    Try:      sonde demo
    Record:   sonde run -- python my_agent.py    (or sonde.record() in it)
    Watch:    sonde tail -f
    Look:     sonde sessions, then sonde show SESSION
    """


def main(argv: Sequence[str] | None = None, *, ready: Callable[[], None] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage or bad input, 3 not found, 130 interrupted.

    ``ready`` is called when the command's module is loaded, before the command begins anything.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in itertools.takewhile(lambda argument: argument.startswith("-"), arguments)
    _open_standard_streams()
    try:
        code = sonde.main(args=arguments, prog_name="sonde", standalone_mode=False, obj=ready)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        click.echo(_usage_line(error), err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except (BrokenPipeError, _ReaderGoneError):
        code = 0  # the reader, such as ``head``, has enough
    except Exception as error:  # noqa: BLE001  # said in a line, with its exit code
        if debug:
            traceback.print_exception(error)
        click.echo(f"sonde: {_said(error)}", err=True)
        code = exit_code_of(error)
    _finish_stdout()
    sys.exit(code if isinstance(code, int) else 0)


def exit_code_of(error: Exception) -> int:
    """The exit code that tells a script what kind of error it was."""
    if isinstance(error, StoreNotFoundError | SessionNotFoundError):
        return EXIT_NOT_FOUND
    return EXIT_USAGE if isinstance(error, SondeError) else EXIT_FAILED


def _said(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, SondeError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _NO_ROOM and not error.filename:
        return f"cannot write the output: {error.strerror}; make room there, or send it elsewhere"
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename!r}' if error.filename else ''}"
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"internal error: {text}; run with --debug (sonde --debug COMMAND) for the traceback, and please report it"


def _usage_line(error: click.ClickException) -> str:
    """A usage error in one line: the command, what is wrong, and where to read on if the text itself does not say."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "sonde"
    text = " ".join(error.format_message().split())
    text = text if text[:2].isupper() else text[:1].lower() + text[1:]
    if "; " in text:  # our own words, with the remedy in them
        return f"{path}: {text.rstrip('.')}"
    if text.endswith("?"):
        return f"{path}: {text} See {path} --help"
    return f"{path}: {text.rstrip('.')}; see {path} --help"


def _open_standard_streams() -> None:
    """Give streams that the caller closed (``>&-``) somewhere to go: the next file opened would take their number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number; a child does not inherit it
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    transliterate(sys.stdout)
    transliterate(sys.stderr)


def _finish_stdout() -> None:
    """Let go of output that nobody takes: Python would try once more at exit, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
