"""``sonde run``: real commands, real signals, a real terminal."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sonde.cli.documents import RunDocument
from sonde.events import Position, RecordedEvent
from sonde.query import Status, load_session
from sonde.store import open as open_store

SONDE = [sys.executable, "-m", "sonde"]
PYTHON = sys.executable
DEADLINE_S = 30.0

# Says that it is ready, then waits for signals and says each; ends with the last.
LISTENER = """
import signal, sys
names = sys.argv[1:]
numbers = [signal.Signals[name] for name in names]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("ready", flush=True)
for _ in numbers:
    print(signal.Signals(signal.sigwait(numbers)).name, flush=True)
sys.exit(7)
"""


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """``sonde run`` with the arguments, to its end."""
    return subprocess.run(
        [*SONDE, "run", *arguments], capture_output=True, text=True, check=False, timeout=DEADLINE_S, **more
    )


@contextmanager
def running(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """``sonde run`` with the arguments, while it runs; its output is readable."""
    process = subprocess.Popen([*SONDE, "run", *arguments], stdout=subprocess.PIPE, text=True, bufsize=1, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def events_of(db: Path, session_id: str | None = None) -> list[RecordedEvent]:
    with closing(open_store(db, mode="ro")) as store:
        return [event for event in store.read_all() if session_id in (None, event.session_id)]


def shell_end(db: Path) -> RecordedEvent:
    """The last event of the one command that was run."""
    (end,) = [event for event in events_of(db) if event.type.startswith("shell.") and event.type != "shell.started"]
    return end


class Terminal:
    """A pseudo-terminal with a process in it, as its session leader."""

    def __init__(self, *command: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(command[0], list(command))
        self.screen = b""

    def wait_for(self, text: bytes) -> None:
        """Read what is shown until it has ``text``."""
        deadline_s = time.monotonic() + DEADLINE_S
        while text not in self.screen:
            assert select.select([self.master], [], [], deadline_s - time.monotonic())[0], self.screen
            self.screen += self._read()

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        """Read until the process ends; its exit code."""
        while data := self._read():
            self.screen += data
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bytes:
        try:
            return os.read(self.master, 65536)
        except OSError:  # Linux says EIO when the last process has closed its side
            return b""


@pytest.fixture
def terminal() -> Iterator[Any]:
    """Opens terminals, and closes them."""
    opened: list[Terminal] = []

    def open_terminal(*command: str) -> Terminal:
        opened.append(Terminal(*command))
        return opened[-1]

    yield open_terminal
    for one in opened:
        os.close(one.master)


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_the_exit_code_is_the_commands_own(db: Path) -> None:
    """A failed command fails sonde run with the same code, and is recorded with it."""
    assert run("--", "sh", "-c", "exit 3").returncode == 3
    end = shell_end(db)
    assert end.type == "shell.failed"
    assert end.data["exit_code"] == 3
    assert end.data["command"] == ["sh", "-c", "exit 3"]


def test_a_command_that_succeeds_completes_its_session(db: Path) -> None:
    """Exit code 0 ends command and session as completed."""
    assert run("--session", "good", "--", "true").returncode == 0
    assert [event.type for event in events_of(db, "good")] == [
        "session.started",
        "shell.started",
        "shell.completed",
        "session.ended",
    ]
    assert events_of(db, "good")[-1].data["status"] == "completed"


def test_a_command_that_a_signal_kills_ends_with_128_and_its_number(db: Path) -> None:
    """As in a shell; the record has the signal itself."""
    assert run("--", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert shell_end(db).data["exit_code"] == -9
    assert shell_end(db).data["error"] == "killed by SIGKILL"


def test_time_cpu_and_memory_are_recorded(db: Path) -> None:
    """A command that computes and allocates is on record with what that took."""
    used = "data = bytearray(150_000_000); sum(range(2_000_000))"
    assert run("--", PYTHON, "-c", used).returncode == 0
    data = shell_end(db).data
    assert data["max_rss_bytes"] > 150_000_000
    assert 0 < data["user_cpu_s"] < data["duration_s"] * os.cpu_count()
    assert data["system_cpu_s"] >= 0


def test_memory_below_sondes_own_is_the_commands(db: Path) -> None:
    """The kernel books the peak of the process that starts a command as the command's; its own is recorded."""
    hold = "while read line; do case $line in VmHWM*) echo $line; esac; done < /proc/$$/status; read end; exit 0"
    with running("-q", "--", "sh", "-c", hold, stdin=subprocess.PIPE) as process:
        said_bytes = int(line_of(process).split()[1]) * 1024
        # There is no telling from outside when sonde has looked; it does so within 20 ms, and then ever again.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0
    recorded_bytes = shell_end(db).data["max_rss_bytes"]
    assert said_bytes <= recorded_bytes < said_bytes + 1_000_000


def test_json_is_the_closing_note_as_an_object(db: Path) -> None:
    """The last line on stderr; stdout is the command's, the fields are those that are promised."""
    done = run("--json", "--session", "fix 42", "--", "sh", "-c", "echo hello; echo oops >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "hello\n")
    oops, line = done.stderr.splitlines()
    assert oops == "oops"
    document = json.loads(line)
    assert list(document) == list(RunDocument.__struct_fields__)
    expected = {"session_id": "fix 42", "db": str(db), "exit_code": 3, "events": 4, "error": ""}
    assert {key: document[key] for key in expected} == expected
    assert 0 < document["duration_s"] < DEADLINE_S
    assert document["user_cpu_s"] >= 0


def test_json_of_a_command_that_cannot_start(db: Path) -> None:
    """Its exit code is sonde's, what it used is unknown, and the reason is said."""
    document = json.loads(run("--json", "--", "no-such-command-anywhere").stderr.splitlines()[-1])
    assert (document["exit_code"], document["user_cpu_s"], document["max_rss_bytes"]) == (127, None, None)
    assert "no such command" in document["error"]


def test_the_end_says_how_to_look_at_the_session(db: Path) -> None:
    """One line on stderr names the session; --quiet leaves it out."""
    done = run("--session", "fix 42", "--", "echo", "hello")
    assert done.stdout == "hello\n"
    assert done.stderr == "sonde: recorded; look at it with: sonde show 'fix 42'\n"
    assert run("-q", "--", "echo", "hello").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--", "no-such-command-anywhere"], 127, "sonde: cannot run 'no-such-command-anywhere': no such command"),
        (["--", "/etc/passwd"], 126, "sonde: cannot run '/etc/passwd': Permission denied"),
        (["--db", "/dev/null/runs.db", "--", "true"], 125, "sonde: cannot open event store '/dev/null/runs.db'"),
        (["--"], 125, "missing argument"),
        (["--no-such-option", "--", "true"], 125, "no such option"),
    ],
)
def test_what_sonde_cannot_do_is_told_from_what_the_command_did(
    db: Path, arguments: list[str], code: int, words: str
) -> None:
    """127, 126 and 125, as env and docker have it, with the reason in one line and no traceback."""
    done = run("-q", *arguments)
    assert done.returncode == code
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_command_that_cannot_start_is_on_record(db: Path) -> None:
    """The session says what was tried and why it failed."""
    run("--", "no-such-command-anywhere")
    assert shell_end(db).type == "shell.failed"
    assert shell_end(db).data["error_type"] == "FileNotFoundError"


def test_options_after_the_command_are_the_commands(db: Path) -> None:
    """Without the two dashes too."""
    assert run("-q", "echo", "--db", "--quiet", "-x").stdout == "--db --quiet -x\n"


def test_tags_and_title_are_recorded(db: Path) -> None:
    """Tags are the session's, the title is said with the command."""
    run("--tag", "ci", "--tag", "nightly", "--title", "All of it", "--", "true")
    started, command = events_of(db)[:2]
    assert started.data["tags"] == ["ci", "nightly"]
    assert command.data["title"] == "All of it"


def test_a_secret_in_the_command_is_not_recorded(db: Path) -> None:
    """It is redacted both in the command and in sonde's own arguments."""
    secret = "sk-proj-a8Kd02mfLq93ZxTw71VbNc54RtYh66Ui"
    run("--", "true", f"--api-key={secret}")
    assert secret not in json.dumps([event.data for event in events_of(db)])
    assert "[REDACTED" in json.dumps(shell_end(db).data["command"])


# -- the command's surroundings ----------------------------------------------------------------------------------------


def test_input_and_output_pass_unchanged(db: Path) -> None:
    """Bytes of any kind come through, to and from the command."""
    data = bytes(range(256)) * 100
    done = subprocess.run([*SONDE, "run", "-q", "--", "cat"], input=data, capture_output=True, check=True)
    assert done.stdout == data
    assert done.stderr == b""


def test_the_command_starts_with_no_signal_blocked_or_ignored(db: Path) -> None:
    """What sonde and Python do to signals for themselves is not handed down."""
    look = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]
    bare = subprocess.run(look, capture_output=True, text=True, check=True).stdout
    glibcs_own = 0b11 << 31  # 32 and 33, which posix_spawn has ignored and no program can use

    def numbers(status: str) -> list[int]:
        return [int(line.split()[1], 16) & ~glibcs_own for line in status.splitlines()]

    assert numbers(run("-q", "--", *look).stdout) == numbers(bare)


def test_a_parent_that_ignores_its_children_does_not_cost_the_exit_code(db: Path) -> None:
    """SIGCHLD that is inherited as ignored would make the kernel forget the status."""
    launch = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [PYTHON, "-c", launch, *SONDE, "run", "-q", "--", "sh", "-c", "exit 4"]
    assert subprocess.run(command, check=False, timeout=DEADLINE_S).returncode == 4


def test_a_python_program_records_into_the_same_session(db: Path, tmp_path: Path) -> None:
    """sonde.record() in the command continues sonde run's session, inside its shell operation, from any folder."""
    program = "import os, sonde; os.chdir('/')\nwith sonde.record() as rec:\n with rec.tool('look'): pass"
    assert run("--db", "other.db", "--session", "one", "--", PYTHON, "-c", program, cwd=tmp_path).returncode == 0
    with closing(open_store(tmp_path / "other.db", mode="ro")) as store:
        session = load_session(store, "one")
    assert session.summary.status is Status.COMPLETED
    (tool,) = [operation for operation in session.tree.operations if operation.kind == "tool"]
    above, path = tool.parent, []
    while above is not None:
        path.append(above.kind)
        above = above.parent
    assert path == ["session", "shell", "session"]
    assert len({operation.trace_id for operation in session.tree.operations}) == 1
    assert not db.exists()


def test_a_program_that_names_its_session_keeps_it(db: Path) -> None:
    """It records into the same file under its own name."""
    program = "import sonde\nwith sonde.record(session_id='mine') as rec: rec.emit('note.taken')"
    run("--session", "outer", "--", PYTHON, "-c", program)
    assert [event.type for event in events_of(db, "mine")] == ["session.started", "note.taken", "session.ended"]


def test_disabled_recording_runs_the_command_all_the_same(db: Path) -> None:
    """SONDE_DISABLED leaves nothing behind, and nothing in the way."""
    done = run("--", "sh", "-c", "echo ${TRACEPARENT:-none}; exit 5", env={**os.environ, "SONDE_DISABLED": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (5, "none\n", "")
    assert not db.exists()


# -- signals -----------------------------------------------------------------------------------------------------------


def test_signals_to_sonde_go_on_to_the_command(db: Path) -> None:
    """The command decides what it does about them; sonde waits for its end and records that."""
    names = ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTERM", "SIGINT"]
    with running("-q", "--", PYTHON, "-c", LISTENER, *names) as process:
        assert line_of(process) == "ready"
        for name in names:
            process.send_signal(signal.Signals[name])
            assert line_of(process) == name
        assert process.wait(DEADLINE_S) == 7
    assert shell_end(db).data["exit_code"] == 7


def test_a_signal_that_the_command_does_not_expect_ends_it(db: Path) -> None:
    """SIGTERM to sonde run ends the command, and sonde as a shell would say it."""
    with running("-q", "--", "sh", "-c", "echo ready; exec sleep 60") as process:
        assert line_of(process) == "ready"
        process.terminate()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert shell_end(db).data["error"] == "killed by SIGTERM"


def test_stop_and_continue_reach_the_whole_job(db: Path) -> None:
    """Ctrl-Z stops sonde together with the command, and continuing the job lets both go on."""
    with running("-q", "--", PYTHON, "-c", LISTENER, "SIGTERM", process_group=0) as process:
        assert line_of(process) == "ready"
        os.killpg(process.pid, signal.SIGTSTP)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        os.killpg(process.pid, signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        assert line_of(process) == "SIGTERM"
        assert process.wait(DEADLINE_S) == 7


def test_a_killed_sonde_leaves_an_interrupted_session(db: Path) -> None:
    """After kill -9 the record shows what was running, and that it was cut off."""
    with running("-q", "--session", "cut", "--", PYTHON, "-c", LISTENER, "SIGTERM") as process:
        assert line_of(process) == "ready"
        with closing(open_store(db, mode="ro")) as store:
            for event in store.follow(Position.START, timeout_s=DEADLINE_S):
                if event.type == "shell.started":
                    break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    with closing(open_store(db, mode="ro")) as store:
        session = load_session(store, "cut")
    assert session.summary.status is Status.INTERRUPTED
    assert {operation.status for operation in session.tree.operations} == {Status.INTERRUPTED}


# -- the terminal ------------------------------------------------------------------------------------------------------


def test_a_terminal_stays_a_terminal(db: Path, terminal: Any) -> None:
    """The command has the same terminal on all three streams, in the foreground and with its size."""
    look = (
        "import os, sys; print([os.isatty(fd) for fd in range(3)], os.tcgetpgrp(0) == os.getpgrp(),"
        " len({os.ttyname(fd) for fd in range(3)}))"
    )
    one = terminal(*SONDE, "run", "-q", "--", PYTHON, "-c", look)
    assert one.end() == 0
    assert one.screen == b"[True, True, True] True 1\r\n"


def test_ctrl_c_reaches_the_command_once(db: Path, terminal: Any) -> None:
    """The terminal sends it to the command itself; sonde adds none, waits, and records how the command ended."""
    # Two of one kind that are pending at once count as one, so that a second one might hide: not twenty times.
    program = (
        "import signal, sys\n"
        "ours = [signal.SIGINT, signal.SIGQUIT]\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, ours)\n"
        "count = 0\n"
        "print('ready', flush=True)\n"
        "while signal.sigwait(ours) == signal.SIGINT:\n"
        "    count += 1\n"
        "    print(f'<{count}>', flush=True)\n"
        "sys.exit(count)\n"
    )
    one = terminal(*SONDE, "run", "-q", "--", PYTHON, "-c", program)
    one.wait_for(b"ready")
    for count in range(1, 21):
        one.type(b"\x03")
        one.wait_for(b"<%d>" % count)
    one.type(b"\x1c")
    assert one.end() == 20
    assert shell_end(db).data["exit_code"] == 20


def test_ctrl_c_that_ends_the_command_ends_sonde_with_130(db: Path, terminal: Any) -> None:
    """The session is cancelled, without a traceback."""
    one = terminal(*SONDE, "run", "--", "sh", "-c", "echo ready; sleep 60")
    one.wait_for(b"ready")
    one.type(b"\x03")
    assert one.end() == 130
    assert b"Traceback" not in one.screen
    assert b"sonde: recorded" in one.screen
    assert events_of(db)[-1].data["status"] == "cancelled"


# -- what goes wrong on our side ---------------------------------------------------------------------------------------


def test_a_store_that_fails_does_not_disturb_the_command(db: Path) -> None:
    """The command goes on and its exit code stays; that the recording is incomplete is said at the end."""
    program = (
        "import os, resource, sys\n"
        "resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (0, 0))  # as if the disk were full\n"
        "print('fine')\n"
        "sys.exit(6)\n"
    )
    done = run("-q", "--", PYTHON, "-c", program)
    assert (done.returncode, done.stdout) == (6, "fine\n")
    assert "sonde: the recording is incomplete: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stderr_that_takes_nothing_does_not_change_the_exit_code(db: Path) -> None:
    """What sonde cannot say it leaves unsaid."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SONDE, "run", "--", "sh", "-c", "exit 6"], stderr=full, check=False)
    assert done.returncode == 6


# -- captured output ---------------------------------------------------------------------------------------------------


def test_output_is_recorded_only_when_asked_for(db: Path) -> None:
    """Without --capture nothing of it is on record."""
    run("--", "echo", "hello")
    assert "stdout" not in shell_end(db).data


def test_captured_output_is_passed_on_and_recorded(db: Path) -> None:
    """Both streams come out where they belong, and are in the record, apart and redacted."""
    secret = "sk-proj-a8Kd02mfLq93ZxTw71VbNc54RtYh66Ui"
    script = f"echo out; echo API_KEY={secret} >&2; exit 2"
    done = run("-q", "--capture", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (2, "out\n", f"API_KEY={secret}\n")
    data = shell_end(db).data
    assert data["stdout"] == "out\n"
    assert data["stderr"].startswith("API_KEY=[REDACTED")


def test_long_output_passes_whole_and_is_kept_in_part(db: Path) -> None:
    """Beginning and end are on record, with the true size; sonde's memory does not grow with it."""
    done = run("-q", "--capture", "--", PYTHON, "-c", "for n in range(100_000): print(f'{n:09}')")
    assert len(done.stdout) == 1_000_000
    data = shell_end(db).data
    assert data["stdout_bytes"] == 1_000_000
    assert data["stdout"].startswith("000000000\n")
    assert data["stdout"].endswith("000099999\n")
    assert len(data["stdout"]) < 65_000


def test_a_captured_command_still_has_a_terminal(db: Path, terminal: Any) -> None:
    """All three streams are terminals of the same size; what is shown is what would be shown without sonde."""
    look = "import os; print([os.isatty(fd) for fd in range(3)], len({os.get_terminal_size(fd) for fd in range(3)}))"
    one = terminal(*SONDE, "run", "-q", "--capture", "--", PYTHON, "-c", look)
    assert one.end() == 0
    assert one.screen == b"[True, True, True] 1\r\n"
    assert shell_end(db).data["stdout"] == "[True, True, True] 1\n"


def test_a_new_window_size_reaches_a_captured_command(db: Path, terminal: Any) -> None:
    """Its own terminal has the new size when it is told for the last time."""
    program = (
        "import os, signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n"
        "print('ready', flush=True)\n"
        "while os.get_terminal_size(1).columns != 123: signal.sigwait([signal.SIGWINCH])\n"
    )
    one = terminal(*SONDE, "run", "-q", "--capture", "--", PYTHON, "-c", program)
    one.wait_for(b"ready")
    fcntl.ioctl(one.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
    assert one.end() == 0


def test_a_captured_command_meets_the_closed_pipe_itself(db: Path) -> None:
    """When the reader of sonde's output goes away, an endless command ends as it would without sonde."""
    with running("-q", "--capture", "--", "yes") as process:
        assert line_of(process) == "y"
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 128 + signal.SIGPIPE


def test_what_the_command_leaves_running_does_not_hold_sonde(db: Path) -> None:
    """A background process may keep the output open; sonde ends soon after the command."""
    started_s = time.monotonic()
    assert run("-q", "--capture", "--", "sh", "-c", "echo started; sleep 20 & exit 0").returncode == 0
    assert time.monotonic() - started_s < 15
    assert shell_end(db).data["stdout"] == "started\n"
