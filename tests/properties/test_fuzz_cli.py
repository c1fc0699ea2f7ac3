"""Whatever words follow ``sonde``, it does it, or says in one line what is wrong: no traceback, no internal error."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sonde
from sonde.cli.main import COMMANDS
from sonde.cli.main import sonde as command_line
from sonde.errors import SondeError

# These start programs: with the words that let them end before they do.
ENDED_BY = {"run": ["--", "./absent"], "demo": ["--", "surplus"]}
# These start servers or waits; their values are read as all others are.
WAITING = {"--follow", "--live", "--watch", "--serve", "--port"}

WORDS = st.sampled_from(
    [
        "", "-", "--", "0", "-1", "1e999", "nan", "9" * 30, "30d", "5GB", "s-1", "nobody", "../..", "/dev/null",
        "runs.db", "text.db", ".", "x\0y", "\udcff", "Ä\U0001f388", "%s%n", "[bold]", "'; DROP TABLE events; --", "out",
        "a=b", "2026-02-11", "99999-01-01", "tool.*", "*", "[", "1:2", "json",
    ]
) | st.text(max_size=5)  # fmt: skip


def options_of(name: str) -> list[click.Parameter]:
    context = click.Context(command_line)
    command = command_line.get_command(context, name)
    assert command is not None
    return [one for one in command.params if isinstance(one, click.Option) and not WAITING & set(one.opts)]


OPTIONS = {name: options_of(name) for name in COMMANDS}  # here, since a strategy may import nothing


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """A command, options of its own mostly, values of the right kind sometimes, and words."""
    name = draw(st.sampled_from(list(COMMANDS)))
    words: list[str] = []
    known = OPTIONS[name]
    for option in draw(st.lists(st.sampled_from(known), max_size=4)) if known else []:
        words.append(draw(st.sampled_from(option.opts)))
        if not option.is_flag:  # type: ignore[attr-defined]
            right = getattr(option.type, "choices", None)
            words.append(draw(st.sampled_from(list(map(str, right))) | WORDS if right else WORDS))
    words += ENDED_BY[name] if name in ENDED_BY else draw(st.lists(WORDS, max_size=2))
    return [name, *words]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of two sessions in it, and a file that is none."""
    with sonde.record(tmp_path / "runs.db", session_id="s-1", memory_interval_s=None) as rec:
        with rec.tool("grep", pattern="x"):
            rec.emit("note.taken", text="y" * 600)
        rec.emit("other", session_id="Ä\U0001f388")
    (tmp_path / "text.db").write_text("no database\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SONDE_DB", str(tmp_path / "runs.db"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


TOLD_BY_SYSTEM = {errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.EEXIST}
EXIT_CODES = range(4)
RUN_EXIT_CODES = {125, 127}  # it is about sonde itself, or there is no such program


def call(words: list[str]) -> str | None:
    """The message of the error in which a command ends."""
    try:
        command_line.main(args=words, prog_name="sonde", standalone_mode=False)
    except click.ClickException as error:
        return error.format_message()
    except SondeError as error:
        return str(error)
    except click.exceptions.Exit as error:
        return None if error.exit_code in EXIT_CODES else ""
    except SystemExit as error:  # run, with the code of what it ran
        return None if words[0] == "run" and error.code in RUN_EXIT_CODES else ""
    except OSError as error:  # main() tells some in the system's own words
        if error.errno not in TOLD_BY_SYSTEM:
            raise
        return str(error)
    return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(words=arguments())
def test_any_arguments_end_in_an_answer(folder: Path, words: list[str], capfd: Any) -> None:
    """Of any command with any options: an exit code that is documented, and a message if it is not done."""
    told = call(words)
    assert told is None or told.strip()
    capfd.readouterr()
    assert (folder / "runs.db").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, capfd: Any) -> None:
    """Each command's help says how it is called and what its options do."""
    assert call([name, "--help"]) is None
    told = capfd.readouterr().out
    assert f"sonde {name}" in told
    for option in OPTIONS[name]:
        assert option.hidden or option.help, option.name  # type: ignore[attr-defined]
    assert os.linesep in told
