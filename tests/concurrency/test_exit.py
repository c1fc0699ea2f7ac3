"""How a program ends: whatever the way, what it recorded is written within a deadline, or said to be missing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import sonde
from sonde.events import EventType, RecordedEvent
from sonde.store import SQLiteStore

PATIENCE_S = 60

CLOSED_WITHIN_S = 10.0
"""Three times ``close(0.1)``; on a loaded machine, too."""


def sample(cases: dict[str, Any], *quick: str) -> list[Any]:
    """All cases as parameters, by name; those that aren't quick are left to the long run."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), id=name, marks=[] if name in quick else LONG)
        for name, case in cases.items()
    ]


LONG = pytest.mark.long

BEGINNING = """
import atexit, os, signal, sys, threading, time
import sonde
rec = sonde.record(sys.argv[1], session_id="s", memory_interval_s=None)
def emit(count):
    for i in range(count):
        rec.emit("n", i=i)
"""


def run(program: str, *arguments: object, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def stored(path: Path, session_id: str = "s") -> list[RecordedEvent]:
    """The session's events, whose versions must be contiguous, and no event there twice."""
    with SQLiteStore(path, mode="ro") as store:
        events = list(store.read(session_id))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert len({(event.writer_id, event.seq) for event in events}) == len(events)
    return events


def numbers(events: list[RecordedEvent]) -> list[int]:
    return [event.data["i"] for event in events if event.type == "n"]


def line_of(stream: IO[str] | None) -> str:
    """The next line of a process's output; an empty one if it ended, or said nothing for a minute."""
    assert stream is not None
    if not select.select([stream], [], [], PATIENCE_S)[0]:
        return ""
    return stream.readline().strip()


# program, exit code, how the session ended, and with which words; None: any
ENDS: dict[str, tuple[str, int, str, str | None]] = {
    "the end of the script": ("emit(2000)", 0, "completed", None),
    "sys.exit": ("emit(2000)\nsys.exit(3)", 3, "completed", None),
    "sys.exit inside the block": ("with rec:\n    emit(2000)\n    sys.exit(3)", 3, "failed", "exit status 3"),
    "an exception": ("emit(2000)\nraise ValueError('boom')", 1, "failed", "boom"),
    "Ctrl-C": (
        "emit(2000)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)", -signal.SIGINT, "cancelled",
        "KeyboardInterrupt",
    ),
    "an exception in a thread": (
        "def work():\n    emit(2000)\n    raise ValueError('boom')\nthreading.Thread(target=work).start()",
        0, "completed", None,
    ),
    "a thread that goes on after the main thread's end": (
        "def work():\n    threading.main_thread().join()\n    emit(2000)\nthreading.Thread(target=work).start()",
        0, "completed", None,
    ),
    "an atexit handler that records": ("atexit.register(emit, 2000)", 0, "completed", None),
    "everything on": (
        "rec.close()\n"
        "rec = sonde.record(sys.argv[1], session_id='s', durability='emit', profile=True, memory_interval_s=0.01,\n"
        "                   metrics_interval_s=0.01, profile_interval_s=0.01)\n"
        "emit(2000)", 0, "completed", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "code", "status", "why"),
    sample(ENDS, "sys.exit", "Ctrl-C", "a thread that goes on after the main thread's end", "everything on"),
)
def test_what_was_recorded_is_written_at_exit(
    tmp_path: Path, program: str, code: int, status: str, why: str | None
) -> None:
    """Every event is there, once and in order, and the session's end says how the program ended."""
    done = run(BEGINNING + program, tmp_path / "runs.db", options=("-X", "dev"))
    assert done.returncode == code, done.stderr
    assert "sonde" not in done.stderr.replace("import sonde", "")
    events = stored(tmp_path / "runs.db")
    assert numbers(events) == list(range(2000))
    assert events[-1].type == "session.ended"
    assert events[-1].data["status"] == status
    if why is not None:
        assert why in (events[-1].data.get("error"), events[-1].data.get("cancelled_by"))


DAEMONS = """
def publish(number):
    i = 0
    while True:
        rec.emit("n", i=i, thread=number)
        i += 1
        with rec.tool("work"):
            time.sleep(0.0002)
for number in range(3):
    threading.Thread(target=publish, args=(number,), daemon=True).start()
while rec.stats().hub.published < 3000:
    time.sleep(0.001)
"""


def test_daemon_threads_may_publish_while_the_program_exits(tmp_path: Path) -> None:
    """What they published before the session's end is there without a hole; exit is silent, and ends."""
    done = run(BEGINNING + DAEMONS, tmp_path / "runs.db", options=("-X", "dev"))
    assert (done.returncode, done.stderr) == (0, "")
    events = stored(tmp_path / "runs.db")
    assert sorted(event.seq for event in events) == list(range(1, len(events) + 1))
    for thread in range(3):
        seen = [event.data["i"] for event in events if event.type == "n" and event.data["thread"] == thread]
        assert seen == list(range(len(seen)))
    assert len(events) >= 3000
    assert any(event.type == "session.ended" for event in events)


OS_EXIT = """
emit(1000)
assert rec.flush()
for i in range(1000, 1500):
    rec.emit("n", i=i)
os._exit(7)
"""


def test_after_os_exit_the_next_recorder_says_how_much_is_missing(tmp_path: Path) -> None:
    """``os._exit`` is a kill: what was flushed is there, and a gap says "at most" how many of the others are not."""
    path = tmp_path / "runs.db"
    done = run(BEGINNING + OS_EXIT, path)
    assert (done.returncode, done.stderr) == (7, "")
    sonde.record(path, session_id="next").close()
    events = stored(path)
    assert not any(event.type == "session.ended" for event in events)
    seen = numbers(events)
    assert seen == list(range(len(seen)))
    assert len(seen) >= 1000
    gaps = [event.data for event in events if event.type == EventType.GAP]
    assert all(gap["at_most"] for gap in gaps)
    assert len(seen) + sum(gap["missed"] for gap in gaps) >= 1500


# As Python 3.12 and later behave: no thread can be started once the program exits. Handlers run last in, first out.
NO_THREADS = """
import atexit, sys
tried, is_over = [], False
def watch(event, arguments):
    if event == "_thread.start_new_thread" and is_over:
        tried.append(arguments[0])
        raise RuntimeError("can't create new thread at interpreter shutdown")
sys.addaudithook(watch)
atexit.register(lambda: print(len(tried), flush=True))
"""
SHUT = """
def shut():
    global is_over
    is_over = True
atexit.register(shut)
"""


@pytest.mark.parametrize(
    "options",
    sample(
        {
            "commit": "",
            "emit": ", durability='emit'",
            "everything": ", durability='emit', profile=True, memory_interval_s=0.01, metrics_interval_s=0.01",
        },
        "everything",
    ),
)
def test_exit_starts_no_thread(tmp_path: Path, options: str) -> None:
    """Where threads can no more be started nothing tries to, and all is written."""
    path = tmp_path / "runs.db"
    beginning = BEGINNING.replace(", memory_interval_s=None", options)
    done = run(NO_THREADS + beginning + SHUT + "emit(2000)", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    events = stored(path)
    assert numbers(events) == list(range(2000))
    assert events[-1].type == "session.ended"


CHILD_AT_EXIT = """
pid = os.fork()
if not pid:
    atexit.register(emit, 100)
    atexit.register(shut)
    sys.exit(5)
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 5, status
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("durability", [pytest.param("commit", marks=LONG), "emit"])
def test_a_child_whose_first_event_comes_at_exit_needs_no_thread(tmp_path: Path, durability: str) -> None:
    """A forked child that never had a thread of ours, and can have none, writes its events with the one it has."""
    path = tmp_path / "runs.db"
    beginning = BEGINNING.replace("memory_interval_s=None", f"durability={durability!r}, metrics_interval_s=None")
    program = NO_THREADS + beginning + SHUT.replace("atexit.register(shut)", "") + CHILD_AT_EXIT
    done = run(program, path)
    assert (done.returncode, done.stderr) == (0, "")
    events = stored(path)
    assert numbers(events) == list(range(100))
    assert [event.type for event in events if event.type.startswith("session.")] == ["session.started", "session.ended"]


LOCKER = """
import fcntl, os, sys, apsw
path, how = sys.argv[1:]
if how == "transaction":
    connection = apsw.Connection(path)
    connection.execute("BEGIN IMMEDIATE")
else:
    handle = os.open(path + "-lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""

# A store that would wait for a minute each time, so that who waits for it is found out without a look at the clock's
# tenths.
LOCKED = """
import sonde.recorder.exits, sonde.store.opener
sonde.recorder.exits.EXIT_TIMEOUT_S = 0.3
sonde.store.opener.open.__kwdefaults__["busy_timeout_s"] = 120.0
recs = [sonde.record(sys.argv[1], session_id=f"s{n}", durability=sys.argv[2]) for n in range(3)]
rec.close()
assert all(rec.flush() for rec in recs)
print("ready", flush=True)
sys.stdin.readline()
for rec in recs:
    emit(1000)
"""


@contextmanager
def locked(path: Path, how: str) -> Any:
    """Another process has the store locked, for good."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as locker:
        try:
            assert line_of(locker.stdout) == "locked"
            yield
        finally:
            locker.kill()


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("how", "durability"), [("transaction", "commit"), pytest.param("flock", "emit", marks=LONG)])
def test_exit_ends_although_the_store_is_locked_for_good(tmp_path: Path, how: str, durability: str) -> None:
    """Three recorders share one deadline; each says how many events were not written; the next recorder has the rest.

    At durability "emit" these are all of them; at "commit" a gap says how many are missing.
    """
    path = tmp_path / "runs.db"
    with start(BEGINNING + LOCKED, path, durability) as process:
        assert line_of(process.stdout) == "ready"
        with locked(path, how):
            _, stderr = process.communicate("go\n", timeout=PATIENCE_S)  # before the store gives up even once
        assert process.returncode == 0
    for number in range(3):
        assert f"session s{number} was closed at exit: 1 events committed, 1001 not written" in stderr
    sonde.record(path, session_id="next").close()
    for number in range(3):
        events = stored(path, f"s{number}")
        missed = sum(event.data["missed"] for event in events if event.type == EventType.GAP)
        if durability == "emit":
            assert (numbers(events), missed) == (list(range(1000)), 0)
            assert events[-1].type == "session.ended"
        else:
            assert (numbers(events), missed) == ([], 1001)


CLOSING = """
began_s = time.monotonic()
reports = [rec.close(0.1) for rec in recs]
took_s = time.monotonic() - began_s
assert not any(reports), reports
print(took_s, flush=True)
print(sys.stdin.readline(), flush=True)  # the program runs on, and the lock is gone
for thread in threading.enumerate():
    if thread.name == "sonde-persister":
        thread.join(60)
print([thread.name for thread in threading.enumerate() if thread.name.startswith("sonde-")], flush=True)
os._exit(0)
"""


def test_close_keeps_its_deadline_although_the_store_is_locked(tmp_path: Path) -> None:
    """``close(0.1)`` returns, whatever the store waits for; what is left of it ends by itself once the lock is gone."""
    path = tmp_path / "runs.db"
    with start(BEGINNING + LOCKED + CLOSING, path, "commit") as process:
        assert process.stdin is not None
        assert line_of(process.stdout) == "ready"
        with locked(path, "transaction"):
            print("go", file=process.stdin, flush=True)
            assert float(line_of(process.stdout)) < CLOSED_WITHIN_S
        print("over", file=process.stdin, flush=True)
        assert line_of(process.stdout) == "over"
        assert line_of(process.stdout) == ""
        assert line_of(process.stdout) == "[]"
    for number in range(3):  # what was under way when the time was over came in after all
        assert len(numbers(stored(path, f"s{number}"))) in (0, 1000)


# --- SIGTERM ---------------------------------------------------------------------------------------------------------

TERMINATED = (
    BEGINNING.replace("memory_interval_s=None", "sigterm=True")
    + """
def wait():
    print("ready", flush=True)
    time.sleep(60)
"""
)

TERMINATIONS = {
    "at exit": """
        atexit.register(print, "atexit")
        emit(2000)
        try:
            with rec.tool("work"):
                wait()
        finally:
            print("finally")
    """,
    "inside the block": """
        atexit.register(print, "atexit")
        try:
            with rec, rec.tool("work"):
                emit(2000)
                wait()
        finally:
            print("finally")
    """,
    "beside threads that publish": """
        atexit.register(print, "atexit")
        def publish():
            while True:
                rec.emit("other")
                time.sleep(0.0002)
        for _ in range(2):
            threading.Thread(target=publish, daemon=True).start()
        emit(2000)
        try:
            with rec.tool("work"):
                wait()
        finally:
            print("finally")
    """,
    "in asyncio": """
        import asyncio
        atexit.register(print, "atexit")
        async def main():
            emit(2000)
            try:
                async with rec.tool("work"):
                    print("ready", flush=True)
                    await asyncio.sleep(60)
            finally:
                print("finally")
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("program", sample(TERMINATIONS, "at exit", "beside threads that publish"))
def test_sigterm_ends_the_program_in_order(tmp_path: Path, program: str) -> None:
    """With ``sigterm=True`` blocks are left, handlers run, all is written, and the session says what ended it."""
    path = tmp_path / "runs.db"
    with start(TERMINATED + textwrap.dedent(program), path) as process:
        assert line_of(process.stdout) == "ready"
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stdout.split(), stderr) == (143, ["finally", "atexit"], "")
    events = stored(path)
    assert numbers(events) == list(range(2000))
    (tool,) = (event for event in events if event.type == "tool.cancelled")
    (ended,) = (event for event in events if event.type == "session.ended")
    assert (ended.data["status"], ended.data["cancelled_by"]) == ("cancelled", "SIGTERM")
    # A coroutine is cancelled by its loop.
    assert tool.data["cancelled_by"] in ("SIGTERM", "CancelledError")


AGAIN = """
import sonde.recorder.exits
from sonde.recorder.termination import termination
sonde.recorder.exits.EXIT_TIMEOUT_S = 0.7
def insist():
    while not termination.is_held_off:
        time.sleep(0.001)
    for _ in range(10):
        if termination.is_held_off:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)
    print("insisted", flush=True)
threading.Thread(target=insist, daemon=True).start()
assert rec.flush()
print("ready", flush=True)
sys.stdin.readline()
emit(1000)
wait()
"""


def test_a_second_sigterm_does_not_cut_off_the_first(tmp_path: Path) -> None:
    """While what is queued is being written at exit SIGTERM does nothing; the exit is bounded without it."""
    path = tmp_path / "runs.db"
    program = TERMINATED + AGAIN
    with start(program, path) as process:
        assert line_of(process.stdout) == "ready"
        with locked(path, "flock"):
            assert process.stdin is not None
            print("go", file=process.stdin, flush=True)
            assert line_of(process.stdout) == "ready"
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stdout) == (143, "insisted\n")
    assert "was closed at exit" in stderr
    assert "Traceback" not in stderr


@pytest.fixture
def sigterm() -> Any:
    """SIGTERM as the system has it, and afterwards as the tests had it."""
    found = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, found)


@pytest.mark.usefixtures("sigterm")
def test_sigterm_is_put_back_by_the_last_recorder() -> None:
    """The handler is there while a recorder that wants it is open; one that somebody else has set since stays."""
    with sonde.record(":memory:", sigterm=True):
        handler: Any = signal.getsignal(signal.SIGTERM)
        with sonde.record(":memory:", sigterm=True):
            pass
        assert signal.getsignal(signal.SIGTERM) == handler != signal.SIG_DFL
        with sonde.record(":memory:"):
            pass
        assert signal.getsignal(signal.SIGTERM) == handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with sonde.record(":memory:", sigterm=True):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler


@pytest.mark.usefixtures("sigterm")
@pytest.mark.parametrize(
    ("handler", "words"), [(signal.default_int_handler, "has a handler"), (signal.SIG_IGN, "ignores it")]
)
def test_a_program_that_handles_sigterm_itself_is_left_alone(tmp_path: Path, handler: Any, words: str) -> None:
    """``sigterm=True`` is refused in plain words then, and nothing has been opened."""
    signal.signal(signal.SIGTERM, handler)
    with pytest.raises(sonde.ConfigError, match=f"{words}.*leave sigterm out"):
        sonde.record(tmp_path / "runs.db", sigterm=True)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("sigterm")
def test_sigterm_is_for_the_main_thread(tmp_path: Path) -> None:
    """Elsewhere Python sets no handlers: refused in plain words."""
    said = in_thread(lambda: sonde.record(tmp_path / "runs.db", sigterm=True))
    assert isinstance(said, sonde.ConfigError)
    assert "main thread" in str(said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("sigterm")
def test_sonde_disabled_leaves_sigterm_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What records nothing changes nothing, and refuses nothing."""
    monkeypatch.setenv("SONDE_DISABLED", "1")
    with sonde.record(sigterm=True):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert not isinstance(in_thread(lambda: sonde.record(sigterm=True)), BaseException)


def in_thread(act: Callable[[], object]) -> object:
    said: list[object] = []

    def work() -> None:
        try:
            said.append(act())
        except sonde.SondeError as error:
            said.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return said[0]


OVERLOOKED = """
def overlooked():
    time.sleep(0.3)  # the main thread waits by now; if not, there is less to find out
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
emit(100)
threading.Thread(target=overlooked, daemon=True).start()
wait()
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs pthread_kill")
def test_a_sigterm_that_python_overlooks_is_sent_again(tmp_path: Path) -> None:
    """One that the system gives to another thread is noted there and wakes nobody: the main thread is told again."""
    path = tmp_path / "runs.db"
    with start(TERMINATED + OVERLOOKED, path) as process:
        assert process.wait(PATIENCE_S - 10) == 143  # it would sleep for a minute
    assert numbers(stored(path)) == list(range(100))


FORKED = """
def fork():
    pid = os.fork()
    if not pid:
        try:
            emit(500)
            wait()
        except SystemExit as end:
            rec.close()
            os._exit(end.code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

forker = threading.Thread(target=fork)
forker.start()
sys.stdin.readline()
os.kill(int(open(f"/proc/self/task/{forker.native_id}/children").read()), signal.SIGTERM)
forker.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds its child in /proc")
@LONG
def test_a_child_that_a_thread_forked_heeds_sigterm(tmp_path: Path) -> None:
    """The thread that forks is the child's main thread; the parent runs on."""
    path = tmp_path / "runs.db"
    with start(TERMINATED + FORKED, path) as process:
        assert line_of(process.stdout) == "ready"
        stdout, stderr = process.communicate("go\n", timeout=PATIENCE_S)
    assert (process.returncode, stdout, stderr) == (0, "143\n", "")
    assert numbers(stored(path)) == list(range(500))
    assert stored(path)[-1].data["status"] == "completed"


CLOSED_ELSEWHERE = """
closer = threading.Thread(target=rec.close)
closer.start()
closer.join()
wait()
"""


def test_a_recorder_that_was_closed_in_another_thread_holds_up_no_sigterm(tmp_path: Path) -> None:
    """There the handler cannot be put back; it then does what SIGTERM does without one."""
    with start(TERMINATED + CLOSED_ELSEWHERE, tmp_path / "runs.db") as process:
        assert line_of(process.stdout) == "ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert stored(tmp_path / "runs.db")[-1].data["status"] == "completed"


def test_sonde_run_hands_sigterm_on(tmp_path: Path) -> None:
    """The command's own recorder ends in order, into the session of ``sonde run``, which passes its exit code on."""
    path = tmp_path / "runs.db"
    program = TERMINATED.replace('sys.argv[1], session_id="s", ', "") + "emit(100)\nwait()"
    command = [sys.executable, "-m", "sonde", "run", "--db", str(path), "--session", "s", "-q", "--"]
    with subprocess.Popen([*command, sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert line_of(process.stdout) == "ready"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 143
    events = stored(path)
    assert numbers(events) == list(range(100))
    ended = [event.data for event in events if event.type == "session.ended"]
    assert [data["status"] for data in ended] == ["cancelled", "failed"]


POOL = """
import multiprocessing, os, sys, time
import sonde

def work(number):
    rec = sonde.record(sys.argv[1], session_id="s", sigterm=True) if sys.argv[2] != "fork" else inherited
    for i in range(500):
        rec.emit("n", i=number * 500 + i)
    with lock:
        done.value += 1
    time.sleep(60)

def begin(shared, mutex):
    global done, lock
    done, lock = shared, mutex

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    if sys.argv[2] == "fork":
        inherited = sonde.record(sys.argv[1], session_id="s", sigterm=True)
    done, lock = context.Value("i", 0), context.Lock()
    with context.Pool(3, begin, (done, lock)) as pool:
        pool.map_async(work, range(3), chunksize=1)
        limit_s = time.monotonic() + 60
        while done.value < 3 and time.monotonic() < limit_s:
            time.sleep(0.01)
    # terminate(), by the end of the block
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=LONG)])
def test_workers_of_a_pool_that_is_terminated_write_what_is_queued(tmp_path: Path, method: str) -> None:
    """``Pool.terminate()``, which leaving its block is, sends SIGTERM: with ``sigterm=True`` nothing is lost by it."""
    path = tmp_path / "runs.db"
    (tmp_path / "pooling.py").write_text(POOL)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "pooling.py"), str(path), method],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(numbers(stored(path))) == list(range(1500))
