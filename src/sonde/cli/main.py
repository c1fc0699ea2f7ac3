"""The command ``sonde``: its commands, and what an error looks like."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence


import click

from sonde.errors import SessionNotFoundError, SondeError, StoreNotFoundError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_INTERRUPTED = 130

# Command → module in this package, whose attribute ``command`` it is. Loaded when used, so that --help is quick.
COMMANDS = {
    "demo": "demo",
    "run": "run",
    "sessions": "sessions",
    "show": "show",
    "tail": "tail",
    "replay": "replay",
    "stats": "stats",
    "export": "export",
    "import": "importing",
    "backup": "backup",
    "doctor": "doctor",
    "completion": "completion",
}


class _ReaderGoneError(Exception):
    """The reader of stdout went away. click would take a plain ``BrokenPipeError`` for a failure."""


class Commands(click.Group):
    """A group whose commands are modules, imported on first use."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise _ReaderGoneError from None
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        module = COMMANDS.get(name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"sonde.cli.{module}").command
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sonde", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def sonde(debug: bool) -> None:
    """sonde, the flight recorder for AI agents.

    \b
    Record:   sonde run -- python my_agent.py
    Watch:    sonde tail -f
    Look:     sonde sessions, then sonde show SESSION
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage or bad input, 3 not found, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments[:1]
    try:
        code = sonde.main(args=arguments, prog_name="sonde", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except (BrokenPipeError, _ReaderGoneError):
        # The reader, such as ``head``, has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SondeError as error:
        if debug:
            raise
        click.echo(f"sonde: {error}", err=True)
        code = exit_code_of(error)
    except OSError as error:
        if debug:
            raise
        click.echo(f"sonde: {error.strerror or error}{f': {error.filename!r}' if error.filename else ''}", err=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)


def exit_code_of(error: SondeError) -> int:
    """The exit code that tells a script what kind of error it was."""
    return EXIT_NOT_FOUND if isinstance(error, StoreNotFoundError | SessionNotFoundError) else EXIT_USAGE
