"""What the tests of the commands share: a store to look at, and the command line in this process or its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from sonde.cli import main
from sonde.cli.output import data_console, message_console
from sonde.events import Event
from sonde.store import Record, SQLiteStore

DEADLINE_S = 30.0
NS = 1_000_000_000
ORIGINALS = Path(__file__).parents[3] / "shared" / "data" / "go-original"


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Running:
    """A command that goes on, with its output by lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def note(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; the exit code and what was said on stderr."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(DEADLINE_S)
        assert self.process.stderr is not None
        return code, self.process.stderr.read().strip()


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the store is that every command of a test uses; nothing is there yet."""
    path = tmp_path / "runs.db"
    for name in ("SONDE_SESSION", "TRACEPARENT", "SONDE_DISABLED", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SONDE_DB", str(path))
    return path


@pytest.fixture
def sonde(db: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line in this process: the same ``main``, none of the start-up."""

    def run(*arguments: object) -> Ran:
        data_console.cache_clear()
        message_console.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, shown.out, shown.err)

    return run


@pytest.fixture
def starting(db: Path) -> Iterator[Callable[..., Running]]:
    """A command as a process of its own, ended with the test if it isn't before."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **more: Any) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", "sonde", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )
        processes.append(process)
        return Running(process)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def append(
    path: Path, *events: Event, stream_id: str | None = None, writer_id: str = "w-1", first_seq: int = 1
) -> None:
    """Write events to a store, each to the stream of its session."""
    with closing(SQLiteStore(path)) as store:
        store.append_batch(
            [
                Record(stream_id or event.session_id, writer_id, seq, event)
                for seq, event in enumerate(events, first_seq)
            ]
        )


def span(number: int) -> str:
    return f"{number:016x}"


def started(
    kind: str, number: int, parent: int = 0, *, at_s: float = 0.0, session: str = "fix-42", **data: Any
) -> Event:
    """The first event of an operation with a span of its own."""
    parent_id = span(parent) if parent else ""
    return Event(
        f"{kind}.started", _ns(at_s), session, data=data, trace_id="a" * 32, span_id=span(number), parent_id=parent_id
    )


def ended(
    kind: str,
    number: int,
    parent: int = 0,
    *,
    how: str = "completed",
    at_s: float = 0.0,
    session: str = "fix-42",
    **data: Any,
) -> Event:
    """The last one."""
    parent_id = span(parent) if parent else ""
    return Event(
        f"{kind}.{how}", _ns(at_s), session, data=data, trace_id="a" * 32, span_id=span(number), parent_id=parent_id
    )


def _ns(at_s: float) -> int:
    return 1_770_802_200 * NS + int(at_s * NS)


def agent_run(session: str = "fix-42", *, at_s: float = 0.0, first_span: int = 1) -> list[Event]:
    """A small session: a task with a tool that works, a model call, and a tool that fails after one event was lost."""
    n = first_span
    of: dict[str, Any] = {"session": session}
    return [
        started("session", n, at_s=at_s, **of, pid=4242, host="box", argv=["agent.py", "--fast"], tags=["nightly"]),
        started("task", n + 1, n, at_s=at_s + 0.1, **of, title="read the code"),
        started("tool", n + 2, n + 1, at_s=at_s + 0.2, **of, tool="read_file", args={"path": "a.py"}),
        ended("tool", n + 2, n + 1, at_s=at_s + 0.3, **of, tool="read_file", duration_s=0.1, result="x = 1"),
        Event("note.taken", _ns(at_s + 0.35), session, data={"text": "hello"}, parent_id=span(n + 1)),
        started("model", n + 3, n + 1, at_s=at_s + 0.4, **of, model="gpt-5"),
        ended(
            "model", n + 3, n + 1, at_s=at_s + 1.4, **of, model="gpt-5", duration_s=1.0, input_tokens=1200,
            output_tokens=340, cost_usd=0.12, cost_source="reported",
        ),
        Event("sonde.gap", _ns(at_s + 1.45), session, data={"missed": 12, "reasons": {"queue_full": 12}}),
        started("tool", n + 4, n + 1, at_s=at_s + 1.5, **of, tool="write_file", args={"path": "b.py"}),
        ended(
            "tool", n + 4, n + 1, how="failed", at_s=at_s + 1.7, **of, tool="write_file", duration_s=0.2,
            error_type="OSError", error="No space left\non device",
        ),
        ended("task", n + 1, n, at_s=at_s + 1.8, **of, title="read the code", duration_s=1.7),
        ended("session", n, how="ended", at_s=at_s + 2.0, **of, status="completed", duration_s=2.0),
    ]  # fmt: skip


@pytest.fixture
def recorded(db: Path) -> Path:
    """A store with the session ``fix-42``."""
    append(db, *agent_run())
    return db


KILLED = """
import os, signal, sonde
rec = sonde.record(session_id="killed-1")
with rec.tool("search", q="x"):
    rec.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""

LIVING = """
import sys, sonde
rec = sonde.record(session_id="living-1")
with rec.tool("search", q="x"):
    rec.flush()
    print("open", flush=True)
    sys.stdin.readline()
rec.close()
"""


@pytest.fixture
def killed(db: Path) -> Path:
    """A store with the session ``killed-1``, whose process died inside a tool."""
    done = subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=DEADLINE_S)
    assert done.returncode == -signal.SIGKILL
    return db


@pytest.fixture
def living(db: Path) -> Iterator[Path]:
    """A store with the session ``living-1``, whose process is inside a tool while the test runs."""
    process = subprocess.Popen([sys.executable, "-c", LIVING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield db
    process.communicate("\n", timeout=DEADLINE_S)


@contextmanager
def as_nobody() -> Iterator[None]:
    """The block as a user who owns nothing: root may do whatever the modes say."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def wait_until(is_true: Callable[[], bool]) -> None:
    """Poll, for what tells nobody."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def original(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a file that the Go original wrote."""

    def copy(name: str) -> Path:
        if not (ORIGINALS / name).is_file():
            pytest.skip(f"needs {name}, written by the Go original, beside the checkout")
        target = tmp_path / name
        target.write_bytes((ORIGINALS / name).read_bytes())
        return target

    return copy


@pytest.fixture
def sample() -> SimpleNamespace:
    """What makes events and stores; test files can't import from here."""
    return SimpleNamespace(
        append=append,
        agent_run=agent_run,
        started=started,
        ended=ended,
        span=span,
        as_nobody=as_nobody,
        wait_until=wait_until,
    )
