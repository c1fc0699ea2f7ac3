"""``sonde demo``: everything is real but the model."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sonde.cli.demonstration import API_KEY
from sonde.cli.documents import EventDocument, SessionDocument
from sonde.events import RecordedEvent
from sonde.query import Session, Status, load_session
from sonde.store import open as open_store

SONDE = [sys.executable, "-m", "sonde"]
DEADLINE_S = 60.0


class Demo:
    """What one run of the demo printed and recorded."""

    def __init__(self, folder: Path) -> None:
        self.db = folder / "demo.db"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SONDE_")}
        self.done = subprocess.run(
            [*SONDE, "demo", "--fast", "--session", "shown", "--db", str(self.db)],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
            env={**environment, "TMPDIR": str(self.temporary)},
        )
        self.session: Session
        with closing(open_store(self.db, mode="ro")) as store:
            self.session = load_session(store, "last")
            self.events: list[RecordedEvent] = list(store.read_all())

    def of_type(self, name: str) -> list[RecordedEvent]:
        return [event for event in self.events if event.type == name]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once for all tests."""
    return Demo(tmp_path_factory.mktemp("demo"))


def test_it_succeeds_and_is_complete(demo: Demo) -> None:
    """The session is complete, and so are its plan and its tasks."""
    assert (demo.done.returncode, demo.done.stderr) == (0, "")
    assert demo.session.summary.status is Status.COMPLETED
    above = [operation for operation in demo.session.tree.operations if operation.kind in ("plan", "task")]
    assert [operation.status for operation in above] == [Status.COMPLETED] * len(above)
    assert [operation.kind for operation in above].count("task") >= 2


def test_the_tests_really_run_and_the_edits_really_mend_them(demo: Demo) -> None:
    """Two tests fail, then one, then none, as unittest itself says."""
    ends = [event for event in demo.events if event.type in ("shell.failed", "shell.completed")]
    assert [event.data["exit_code"] for event in ends] == [1, 1, 0]
    verdicts = [event.data["stderr"].splitlines()[-1] for event in ends]
    assert verdicts == ["FAILED (failures=2)", "FAILED (failures=1)", "OK"]


def test_a_tool_fails_with_the_error_that_it_met(demo: Demo) -> None:
    """A file that is not there, once; the agent goes on."""
    (failed,) = demo.of_type("tool.failed")
    assert failed.data["error_type"] == "FileNotFoundError"


def test_tools_run_in_parallel_within_their_task(demo: Demo) -> None:
    """One tool begins and ends while another runs; both have the task as their parent."""
    first, second = [one for one in demo.session.tree.operations if one.kind == "tool"][:2]
    assert first.parent is not None
    assert first.parent is second.parent
    assert first.parent.kind == "task"
    assert first.start_ns <= second.start_ns < first.end_ns


def test_the_model_says_that_it_is_scripted(demo: Demo) -> None:
    """In the terminal and in each recorded call; tokens and cost are as the scripted provider reports them."""
    assert "model, which is scripted" in demo.done.stdout
    assert all(event.data["scripted"] is True for event in demo.of_type("model.started"))
    for event in demo.of_type("model.completed"):
        assert (event.data["model"], event.data["provider"]) == ("scripted-model", "sonde-demo")
        assert event.data["cost_source"] == "reported"
        assert event.data["input_tokens"] > 0
        assert event.data["output_tokens"] > 0
        assert 0 <= event.data["ttft_s"] <= event.data["duration_s"]
    assert demo.session.summary.cost.reported_usd == pytest.approx(demo.session.summary.cost.usd)


def test_the_secret_in_the_output_never_reaches_the_file(demo: Demo) -> None:
    """The key that the tests print is nowhere in the store, and the demo shows what is there instead."""
    assert all(API_KEY.encode() not in path.read_bytes() for path in demo.db.parent.glob("demo.db*"))
    assert any("PAYMENT_API_KEY=[REDACTED" in event.data.get("stdout", "") for event in demo.events)
    assert "paying with PAYMENT_API_KEY=[REDACTED" in demo.done.stdout


def test_it_is_shown_live_then_as_a_tree_then_what_to_do_next(demo: Demo) -> None:
    """A line for each event as it happens, plain where no terminal is, then the tree, then commands that work."""
    text = demo.done.stdout
    assert "\x1b" not in text
    assert text.index("plan.started") < text.index("tool.failed") < text.index("session.ended")
    assert text.index("session.ended") < text.index("✓ plan") < text.index("Look further")
    assert f"sonde show shown --failures --db {demo.db}" in text


def test_the_suggested_commands_work(demo: Demo) -> None:
    """Each command that the demo suggests succeeds as it is printed (tail without its waiting)."""
    lines = demo.done.stdout.split("Look further:\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) == 5
    for line in lines:
        words = line.split(f"{demo.db}")[0].split()[1:]
        arguments = [word for word in words if word != "-f"]
        done = subprocess.run([*SONDE, *arguments, str(demo.db)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)


def test_nothing_is_left_behind(demo: Demo) -> None:
    """The agent's folder is removed."""
    assert list(demo.temporary.iterdir()) == []


def test_ctrl_c_cancels_the_session_and_cleans_up(tmp_path: Path) -> None:
    """Exit code 130, no traceback; the record says that it was cancelled."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    db = tmp_path / "demo.db"
    with subprocess.Popen(
        [*SONDE, "demo", "--db", str(db)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        assert process.stdout is not None
        while "model.started" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    with closing(open_store(db, mode="ro")) as store:
        assert load_session(store, "last").summary.status is Status.CANCELLED
    assert list(temporary.iterdir()) == []


def test_without_recording_there_is_nothing_to_show(tmp_path: Path) -> None:
    """With SONDE_DISABLED the demo says so instead of pretending."""
    done = subprocess.run(
        [*SONDE, "demo", "--db", str(tmp_path / "demo.db")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SONDE_DISABLED": "1"},
    )
    assert done.returncode == 2
    assert "SONDE_DISABLED" in done.stderr


def test_json_is_the_events_and_then_the_session(tmp_path: Path) -> None:
    """Each recorded event in order with the fields of tail, the session's object last, and nothing else."""
    db = tmp_path / "demo.db"
    command = [*SONDE, "demo", "--fast", "--json", "--db", str(db)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (0, "")
    *events, session = [json.loads(line) for line in done.stdout.splitlines()]
    with closing(open_store(db, mode="ro")) as store:
        places = [(event.type, str(event.position)) for event in store.read_all()]
    assert [(event["type"], event["position"]) for event in events] == places
    assert all(list(event) == list(EventDocument.__struct_fields__) for event in events)
    assert list(session) == list(SessionDocument.__struct_fields__)
    assert (session["record"], session["status"]) == ("session", "completed")
    assert session["events"] == len(events)


@pytest.mark.parametrize("place", ["path", "here", "beside", "elsewhere"])
def test_the_hints_name_the_program_as_it_can_be_called(tmp_path: Path, place: str) -> None:
    """The name if PATH finds this one; a relative path below the current folder; else the absolute one."""
    folder, elsewhere = tmp_path / "bin", tmp_path / "other"
    elsewhere.mkdir()
    folder.mkdir()
    program = folder / "sonde"
    program.write_text(f"#!{sys.executable}\nfrom sonde.cli import main\nmain()\n")
    program.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin" if place == "path" else "/usr/bin:/bin"
    done = subprocess.run(
        [program, "sessions", "--db", "nope.db"],
        capture_output=True,
        text=True,
        check=False,
        cwd={"beside": folder, "elsewhere": elsewhere}.get(place, tmp_path),
        env={**os.environ, "PATH": path},
    )
    expected = {"path": "sonde", "here": "bin/sonde", "beside": "./sonde", "elsewhere": str(program)}[place]
    assert f": {expected} run --db nope.db -- CMD" in done.stderr
