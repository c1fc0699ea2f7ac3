"""The command line as a whole: help, versions, errors, exit codes, pipes, Ctrl-C."""

import os
import pty
import signal
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sonde.cli import main
from sonde.cli.main import COMMANDS
from sonde.store import SQLiteStore

SONDE = [sys.executable, "-m", "sonde"]
DEADLINE_S = 30.0

# The command line with one of its commands replaced, to see what comes of what that does.
WITH_COMMAND = """
import sys, types, click
from sonde.cli import main
from sonde.cli.main import COMMANDS
module = types.ModuleType("sonde.cli.example")
sys.modules["sonde.cli.example"] = module
COMMANDS["example"] = "example"
@click.command()
def command():
    {body}
module.command = command
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONDE_DB", str(tmp_path / "runs.db"))
    # Unbuffered, Python would not fail late, in the flush at its exit.
    for name in ("FORCE_COLOR", "NO_COLOR", "SONDE_DISABLED", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)


def sonde(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.run([*SONDE, *arguments], check=False, timeout=DEADLINE_S, **options)


def with_command(body: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", WITH_COMMAND.format(body=body), *(arguments or ["example"])]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.run(program, check=False, timeout=DEADLINE_S, **options)


def test_help_names_every_command_and_where_to_begin() -> None:
    """The help lists all commands and says which to try first."""
    done = sonde("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "sonde demo" in done.stdout
    assert "sonde run -- python my_agent.py" in done.stdout


def test_sonde_alone_prints_the_help() -> None:
    """As a usage error: a script that lost its argument does not look successful."""
    done = sonde()
    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The text begins with how it is called, and has examples; -h works as well."""
    with pytest.raises(SystemExit) as ended:
        main([name, "-h"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: sonde {name}")
    assert "Examples:" in text


def test_version_is_that_of_the_package() -> None:
    """The option --version prints name and version."""
    assert sonde("--version").stdout == f"sonde {metadata.version('sonde')}\n"


def test_a_command_written_wrong_is_told_the_right_one() -> None:
    """A near name is suggested; exit code 2."""
    done = sonde("sesions")
    assert done.returncode == 2
    assert done.stderr == "sonde: no such command 'sesions'; did you mean sessions?\n"


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["show", "--zzz"], 2, "sonde show: no such option '--zzz'; see sonde show --help"),
        (["show", "--ful"], 2, "sonde show: no such option '--ful'. Did you mean '--full'? See sonde show --help"),
        (
            ["metrics", "a", "--session", "b"],
            2,
            "sonde metrics: SESSION and --session contradict each other; give one of them",
        ),
        (["show"], 2, "sonde show: missing argument 'SESSION'; see sonde show --help"),
        (["--zzz"], 2, "sonde: no such option '--zzz'; see sonde --help"),
        (["zzz"], 2, "sonde: no such command 'zzz'; sonde --help lists them"),
        (["run", "--zzz", "--", "true"], 125, "sonde run: no such option '--zzz'; see sonde run --help"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], code: int, line: str) -> None:
    """The command, what is wrong and what helps; of sonde run the exit code is none that the command may have."""
    done = sonde(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{line}\n")


def test_a_known_error_is_one_line() -> None:
    """The error's message and exit code 3 for what is not found, without a traceback; --debug shows it."""
    done = sonde("show", "--db", "/nonexistent/runs.db", "last")
    assert done.returncode == 3
    assert done.stderr.startswith("sonde: cannot open event store '/nonexistent/runs.db'")
    assert done.stderr.count("\n") == 1
    debugged = sonde("--debug", "show", "--db", "/nonexistent/runs.db", "last")
    assert debugged.returncode == 3
    assert debugged.stderr.startswith("Traceback")
    assert debugged.stderr.endswith(done.stderr)


def test_an_unexpected_error_is_one_line_that_says_what_to_do() -> None:
    """Exit code 1; --debug before the command shows the traceback, after the command it is no option of sonde's."""
    done = with_command("raise RuntimeError('a\\nb')")
    assert done.returncode == 1
    assert done.stderr.startswith("sonde: internal error: RuntimeError: a b; run with --debug")
    assert done.stderr.count("\n") == 1
    assert "Traceback" in with_command("raise RuntimeError('a')", "--debug", "example").stderr


def test_a_reader_that_has_enough_is_no_error() -> None:
    """Quiet, whether the pipe breaks while there is output or at the end of it."""
    for body in ("[click.echo('x' * 1000) for _ in range(1000)]", "print('x', end='')"):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = with_command(body, stdout=writing)
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (0, ""), body


def test_help_into_a_closed_pipe_is_no_error() -> None:
    """The help is printed before any command runs, and is as quiet."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = sonde("--help", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_under_stdout_is_said_once() -> None:
    """One line, exit code 1, and nothing more when Python exits."""
    with open("/dev/full", "w") as full:
        done = with_command("print('x')", stdout=full)
    assert done.returncode == 1
    assert done.stderr == (
        "sonde: cannot write the output: No space left on device; make room there, or send it elsewhere\n"
    )


@pytest.mark.parametrize("redirection", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(redirection: str, tmp_path: Path) -> None:
    """Commands work all the same, and no file of theirs takes the number of a standard stream."""
    script = f'exec "$@" {redirection}'
    for arguments in (["--help"], ["run", "--", "true"], ["sessions"]):
        done = subprocess.run(
            ["sh", "-c", script, "-", *SONDE, *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), arguments
    assert (tmp_path / "runs.db").read_bytes().startswith(b"SQLite format 3\0")


def test_ctrl_c_ends_with_130_and_no_traceback() -> None:
    """Whatever the command is doing."""
    program = [
        sys.executable,
        "-c",
        WITH_COMMAND.format(body="print('ready', flush=True); import time; time.sleep(60)"),
    ]
    with subprocess.Popen([*program, "example"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_ctrl_c_while_it_starts_ends_with_130_and_no_traceback() -> None:
    """Also before the command line itself is loaded."""
    program = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "sonde.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
import runpy
runpy.run_module("sonde", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


# Comes first in every Python with this folder on its path: Ctrl-C at the import of a module, or while Python ends.
CUSTOMISED = """
import atexit, os, signal, sys
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
class Dying:
    def __del__(self):
        interrupt()
        for _ in range(3): pass  # here the signal's handler runs, and what it raises goes nowhere
class Interrupting:
    def find_spec(self, name, *_):
        if name == os.environ["AT"].removesuffix(" (ignored)"):
            Dying() if "ignored" in os.environ["AT"] else interrupt()
sys.meta_path.insert(0, Interrupting())
if os.environ["AT"] == "exit":
    atexit.register(interrupt)
"""


@pytest.mark.parametrize(
    "at", ["sonde.cli", "typing", "click", "click (ignored)", "sonde.cli.sessions (ignored)", "rich.console", "exit"]
)
def test_ctrl_c_at_any_moment_is_quiet(at: str, tmp_path: Path) -> None:
    """In the middle of each import, also where Python ignores what a handler raises, and while Python ends."""
    (tmp_path / "sitecustomize.py").write_text(CUSTOMISED)
    with_path = {**os.environ, "PYTHONPATH": str(tmp_path), "AT": at}
    store = tmp_path / "runs.db"
    with SQLiteStore(store):
        pass
    done = sonde("sessions", "--db", str(store), env=with_path)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done


def test_a_ctrl_c_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As under nohup, and for a command that a script put into the background."""
    (tmp_path / "sitecustomize.py").write_text(CUSTOMISED)
    program = ["sh", "-c", "trap '' INT; exec \"$@\"", "-", *SONDE, "--version"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AT": "click"}
    done = subprocess.run(program, env=environment, capture_output=True, check=False, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_installed_command_starts_as_the_module_does() -> None:
    """So that Ctrl-C is quiet there, too."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"sonde": "sonde.__main__:main"}


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_only_where_a_person_wants_them(variables: dict[str, str], coloured: bool) -> None:
    """In a terminal, unless NO_COLOR is set."""
    body = "from sonde.cli.output import data_console; data_console().print('x', style='red')"
    master, slave = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", **variables}
        assert with_command(body, stdout=slave, env=environment).returncode == 0
        assert (b"\x1b[31m" in os.read(master, 1000)) is coloured
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    """The command completion prints a script for each shell, with a comment on how to install it."""
    done = sonde("completion", shell)
    assert done.returncode == 0
    assert "_SONDE_COMPLETE" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("# To install it:")


def test_completion_for_a_shell_that_is_not_known() -> None:
    """Says which ones there are."""
    done = sonde("completion", env={**os.environ, "SHELL": "/bin/tcsh"})
    assert done.returncode == 2
    assert "expected one of bash, zsh, fish" in done.stderr


def test_completion_knows_the_commands() -> None:
    """What the script asks for gets an answer."""
    asked = {"_SONDE_COMPLETE": "bash_complete", "COMP_WORDS": "sonde se", "COMP_CWORD": "1"}
    assert sonde(env={**os.environ, **asked}).stdout == "plain,sessions\n"
