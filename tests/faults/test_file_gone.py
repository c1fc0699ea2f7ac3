"""The store's file goes away while programs record into it: deleted, moved, replaced, written over, its folder gone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import apsw
import pytest

import sonde
from sonde.errors import StoreFormatError, StoreUnavailableError
from sonde.events import Event, EventType, Position, RecordedEvent
from sonde.store import Liveness, SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inodes and open files as Linux has them")

LIMIT_S = 60.0
IS_LONG = os.environ.get("SONDE_TEST_LONG") == "1"
QUIET: dict[str, Any] = {"metrics_interval_s": None, "memory_interval_s": None}

Fault = Callable[[Path], object]
Report = Callable[..., None]


def delete_file(path: Path) -> None:
    """As `rm runs.db` does."""
    path.unlink()


def delete_all(path: Path) -> None:
    """As `rm runs.db*` does."""
    for left in path.parent.glob(f"{path.name}*"):
        if left.is_file():
            left.unlink()


def delete_folder(path: Path) -> None:
    """As `rm -r` does."""
    shutil.rmtree(path.parent)


def cut_off(path: Path) -> None:
    """As `> runs.db` does."""
    os.truncate(path, 0)


def delete_log(path: Path) -> None:
    """As `rm runs.db-wal` does."""
    path.with_name(f"{path.name}-wal").unlink()


def move(path: Path) -> None:
    """As `mv runs.db elsewhere.db` does."""
    path.rename(path.with_name("elsewhere.db"))


def fill(rec: sonde.Recorder, some: range) -> None:
    """So much that the log is written into the file and begun anew, several times."""
    for i in some:
        rec.emit("n", i=i, text=random.Random(i).randbytes(20_000).hex())
        if i % 20 == 0:
            assert rec.flush(LIMIT_S)
    assert rec.flush(LIMIT_S)


DISAPPEARANCES = {
    "rm runs.db": delete_file,
    "rm runs.db*": delete_all,
    "rm -r its folder": delete_folder,
    "> runs.db": cut_off,
    "mv runs.db elsewhere.db": move,
}


def events_of(path: Path) -> list[RecordedEvent]:
    """All that is in a file, which must be whole."""
    with SQLiteStore(path, mode="ro") as store:
        assert list(store.verify()) == []
        events = list(store.read_all())
    versions: dict[str, list[int]] = {}
    for event in events:
        versions.setdefault(event.stream_id, []).append(event.version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    return events


def told(events: list[RecordedEvent]) -> dict[str, int]:
    """What gaps say, by reason."""
    reasons: dict[str, int] = {}
    for event in events:
        if event.type == EventType.GAP:
            for reason, number in event.data["reasons"].items():
                reasons[reason] = reasons.get(reason, 0) + number
    return reasons


def numbers(events: list[RecordedEvent]) -> list[int]:
    """What the test emitted, in the order of versions."""
    return [event.data["i"] for event in events if event.type == "n"]


@pytest.mark.parametrize(
    ("fault", "durability"),
    [(delete_file, "commit"), (delete_all, "emit"), (delete_folder, "commit"), (cut_off, "commit"), (move, "emit")],
)
def test_recording_goes_on_in_a_new_file(tmp_path: Path, fault: Fault, durability: str) -> None:
    """The new file has what comes, each once, from version 1 on, behind a gap that counts exactly what is not there."""
    path = tmp_path / "folder" / "runs.db"
    rec = sonde.record(path, session_id="s", durability=durability, **QUIET)
    for i in range(50):
        rec.emit("n", i=i)
    assert rec.flush(LIMIT_S)
    fault(path)
    for i in range(50, 120):
        rec.emit("n", i=i)
    report = rec.flush(LIMIT_S)
    reason = "file_overwritten" if fault is cut_off else "file_deleted"
    assert (report.pending, report.committed, report.dropped) == (0, 70, {reason: 51})  # the session's start, too
    assert rec.stats().failures == {"file": 1}
    events = events_of(path)
    assert events[0].type == EventType.GAP
    assert (told(events), numbers(events)) == ({reason: 51}, list(range(50, 120)))
    with SQLiteStore(path, mode="ro") as store:
        assert store.liveness(events[1].writer_id) is Liveness.ALIVE
    if fault is move:
        assert numbers(events_of(path.with_name("elsewhere.db"))) == list(range(50))
    rec.close(LIMIT_S)
    assert events_of(path)[-1].type == EventType.SESSION_ENDED
    assert [left.name for left in path.parent.iterdir() if left.name.startswith("runs.db")] == ["runs.db"]


def test_what_waits_while_the_file_goes_is_written_to_the_new_one(tmp_path: Path) -> None:
    """Events that are published and not committed are in the new file, in order, none missing."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        rec.emit("n", i=-1)
        assert rec.flush(LIMIT_S)
        with sonde.store.open(path) as other:
            assert isinstance(other, SQLiteStore)
            with other._handle.attachment.writing("append to"):  # nothing can be committed meanwhile
                for i in range(5_000):
                    rec.emit("n", i=i)
                delete_all(path)
        assert rec.flush(LIMIT_S).pending == 0
        events = events_of(path)
    assert (told(events), numbers(events)) == ({"file_deleted": 2}, list(range(5_000)))


def test_a_backup_that_is_put_in_place_is_gone_on_with(tmp_path: Path, fault_report: Report) -> None:
    """Its events count as there; the gap counts those that came after it was made, and versions go on behind them."""
    path, backup = tmp_path / "runs.db", tmp_path / "backup.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        for i in range(10):
            rec.emit("n", i=i)
        assert rec.flush(LIMIT_S)
        assert isinstance(rec.store, SQLiteStore)
        rec.store.backup(backup)
        for i in range(10, 17):
            rec.emit("n", i=i)
        assert rec.flush(LIMIT_S)
        backup.replace(path)
        rec.emit("n", i=17)
        rec.flush(LIMIT_S)
        events = events_of(path)
    assert told(events) == {"file_replaced": 7}
    assert numbers(events) == [*range(10), 17]
    fault_report(
        fault="another store, a backup, is put in the file's place while a program records",
        promised="it is gone on with; what it has counts as there, and what it lacks is counted exactly",
        seen={"events": 18, "there": len(numbers(events)), "counted by the gap": sum(told(events).values())},
    )


def test_a_file_that_is_put_back_has_its_events_again(tmp_path: Path) -> None:
    """A gap counts what the file at the path lacks: what is there again is not counted, what went with the other is."""
    path, away = tmp_path / "runs.db", tmp_path / "away.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        rec.emit("n", i=0)
        assert rec.flush(LIMIT_S)
        path.rename(away)
        rec.emit("n", i=1)
        rec.flush(LIMIT_S)
        assert told(events_of(path)) == {"file_deleted": 2}
        away.replace(path)
        rec.emit("n", i=2)
        assert rec.flush(LIMIT_S).dropped == {"file_replaced": 1}
        events = events_of(path)
    assert (numbers(events), told(events)) == ([0, 2], {"file_replaced": 1})


def test_what_an_earlier_gap_said_is_said_again(tmp_path: Path) -> None:
    """A gap that goes with the file is not lost: the next one has its number, under its own reason."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", max_pending_bytes=100_000, **QUIET) as rec:
        assert rec.flush(LIMIT_S)
        with sonde.store.open(path) as other:
            assert isinstance(other, SQLiteStore)
            with other._handle.attachment.writing("append to"):
                for i in range(5_000):
                    rec.emit("n", i=i)
        rec.flush(LIMIT_S)
        rec.emit("n", i=5_000)
        rec.flush(LIMIT_S)
        before = events_of(path)
        dropped = told(before)
        assert dropped
        assert len(numbers(before)) + sum(dropped.values()) == 5_001
        delete_all(path)
        rec.emit("n", i=5_001)
        rec.flush(LIMIT_S)
        events = events_of(path)
    assert told(events) == dropped | {"file_deleted": len(numbers(before)) + 1}


def test_something_foreign_in_the_files_place_delays(tmp_path: Path, fault_report: Report) -> None:
    """No event goes into what is not sonde's, the error says what helps, and once that is done nothing is missing."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        rec.emit("n", i=0)
        assert rec.flush(LIMIT_S)
        path.rename(tmp_path / "away.db")
        path.write_bytes(b"no database " * 1000)
        rec.emit("n", i=1)
        report = rec.flush(0.5)
        assert (report.pending, "pass another path" in (rec.stats().error or "")) == (1, True)
        assert path.read_bytes() == b"no database " * 1000
        (tmp_path / "away.db").replace(path)
        report = rec.flush(LIMIT_S)
        assert (bool(report), rec.stats().error) == (True, None)
        assert (numbers(events_of(path)), told(events_of(path))) == ([0, 1], {})
    fault_report(
        fault="a file that is no store is put in the file's place while a program records",
        promised="it is left as it is; events wait in memory, an error says what helps, and once that is done all are "
        "written",
        seen={"events": 2, "lost": 0},
    )


def test_a_copy_that_is_written_over_the_open_file(tmp_path: Path, fault_report: Report) -> None:
    """`cp backup.db runs.db`: the log of the old content is not applied to the new one, which is gone on with."""
    path, backup = tmp_path / "runs.db", tmp_path / "backup.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        rec.emit("n", i=0)
        assert rec.flush(LIMIT_S)
        assert isinstance(rec.store, SQLiteStore)
        rec.store.backup(backup)
        fill(rec, range(1, 400))
        assert rec.flush(LIMIT_S)
        shutil.copyfile(backup, path)
        rec.emit("n", i=400)
        assert rec.flush(LIMIT_S).pending == 0
        events = events_of(path)
    # Where the log has everything, nothing is lost.
    assert (numbers(events), told(events)) in (([0, 400], {"file_overwritten": 399}), (list(range(401)), {}))
    fault_report(
        fault="a copy is written over the open file (cp backup.db runs.db) while a program records",
        promised="the log of the old content is not applied to it; it is gone on with, and what it lacks is counted "
        "exactly; or nothing is lost, if the log alone has all of the old content",
        seen={"events": 401, "there": len(numbers(events)), "counted by the gap": sum(told(events).values())},
    )


def test_garbage_that_is_written_over_the_open_file(tmp_path: Path) -> None:
    """The program runs on; the error says what helps, and once the garbage is away a new file is made, with a gap."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        fill(rec, range(400))
        path.write_bytes(b"no database " * 1000)
        rec.emit("n", i=400)
        rec.flush(0.5)
        delete_file(path)
        rec.emit("n", i=401)
        assert rec.flush(LIMIT_S).pending == 0
        events = events_of(path)
    assert len(numbers(events)) + sum(told(events).values()) == 403  # the session's start is in the gap


def test_a_log_that_was_deleted_loses_nothing(tmp_path: Path) -> None:
    """`rm runs.db-wal`: what was in it is brought into the file, and recording goes on with a new one."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", **QUIET) as rec:
        for i in range(100):
            rec.emit("n", i=i)
        assert rec.flush(LIMIT_S)
        path.with_name("runs.db-wal").unlink()
        for i in range(100, 200):
            rec.emit("n", i=i)
        assert rec.flush(LIMIT_S)
        assert (numbers(events_of(path)), told(events_of(path))) == (list(range(200)), {})


def test_the_mark_does_not_count_again_what_a_gap_has_counted(tmp_path: Path) -> None:
    """After a kill -9 the next recorder finds nothing missing but what the gap says."""
    path = tmp_path / "runs.db"
    script = """
import os, signal, sys, time, sonde
rec = sonde.record(sys.argv[1], session_id="s", metrics_interval_s=None, memory_interval_s=None)
for i in range(500):
    rec.emit("n", i=i)
assert rec.flush()
os.unlink(sys.argv[1])
for i in range(500, 700):
    rec.emit("n", i=i)
rec.flush()
while rec.hub.stats().queued or rec.stats().pending:
    time.sleep(0.01)
while rec._journal._mark.words[2] != 1:  # until the hub has come to rest the mark says more than is there
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=90, check=False)
    assert done.returncode == -signal.SIGKILL
    with sonde.record(path, session_id="next", **QUIET):
        pass
    events = events_of(path)
    assert (numbers(events), told(events)) == (list(range(500, 700)), {"file_deleted": 501})


def test_another_file_is_not_taken_for_the_old_one_around_a_fork(tmp_path: Path) -> None:
    """A fork closes all connections: a file that is made then, though it got the old one's inode, is another file."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        store.append("s", [Event("a.b"), Event("c.d")])
        for _ in range(5):
            pid = os.fork()
            if not pid:
                delete_all(path)
                with SQLiteStore(path) as other:
                    other.append("t", [Event("other.kind", data={"i": 0})])
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            store.append("s", [Event("c.d")])
            assert [(event.stream_id, event.type) for event in store.read_all()] == [("t", "other.kind"), ("s", "c.d")]
            assert list(store.verify()) == []


# --- readers ----------------------------------------------------------------------------------------------------------


def test_a_follower_goes_on_in_the_new_file(tmp_path: Path) -> None:
    """Another handle that follows, and may only read, gives the new file's events from the first one on."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store, ExitStack() as stack:
        store.append("s", [Event("n", data={"i": 0})])
        reader = stack.enter_context(SQLiteStore(path, mode="ro"))
        following = reader.follow(Position.START, timeout_s=LIMIT_S)
        assert next(following).data == {"i": 0}
        for round_ in range(1, 4):
            delete_all(path)
            with pytest.raises(sonde.StoreNotFoundError):
                reader.head("s")
            store.append("s", [Event("n", data={"i": round_}), Event("n", data={"i": round_})])
            assert [(next(following).version, round_), next(following).data] == [(1, round_), {"i": round_}]


def test_a_read_does_not_go_on_in_another_file(tmp_path: Path) -> None:
    """What follows there does not follow on what was read: a clear error, and the next read is of the new file."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store, SQLiteStore(path, mode="ro") as reader:
        store.append("s", [Event("n", data={"i": i}) for i in range(2_000)])
        reading = reader.read("s")
        assert next(reading).version == 1
        delete_file(path)
        store.append("s", [Event("n", data={"i": -1})])
        with pytest.raises(StoreUnavailableError, match="replaced meanwhile; read again"):
            list(reading)
        assert [event.data["i"] for event in reader.read("s")] == [-1]


def test_two_handles_of_one_process(tmp_path: Path) -> None:
    """Both find what happened to the file, whoever looks first, and neither harms the other."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as one, SQLiteStore(path) as two:
        for fault in (delete_file, cut_off, move, delete_all, cut_off, delete_file):
            for store in (one, two):
                store.append("s", [Event("a.b")] * 20)
                assert two.head("s") == one.head("s")
            fault(path)
            two.append("s", [Event("a.b")])
            one.append("s", [Event("a.b")])
            assert (one.head("s"), two.head("s"), len(list(one.read("s")))) == (2, 2, 2)
            assert list(one.verify()) == []


def test_a_file_of_the_original_in_the_files_place(tmp_path: Path) -> None:
    """It is only ever read: appending is refused, and it stays as it is."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        store.append("s", [Event("a.b")])
        delete_all(path)
        raw = apsw.Connection(str(path))
        raw.execute(
            "CREATE TABLE telemetry_events (id INTEGER PRIMARY KEY, stream_id, event_type, version, session_id, "
            "plan_id, task_id, data, timestamp)"
        )
        raw.close()
        before = path.read_bytes()
        for _ in range(2):
            with pytest.raises(StoreFormatError, match="move it away"):
                store.append("s", [Event("a.b")])
        assert path.read_bytes() == before
        delete_all(path)
        assert store.append("s", [Event("a.b")]).first_version == 1


def test_no_handle_is_left_open(tmp_path: Path) -> None:
    """However often the file goes, the process has as many files open as before."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        store.register_writer("w")
        counts = []
        for _ in range(10):
            store.append("s", [Event("a.b")])
            assert len(list(store.read("s"))) == 1
            counts.append(len(os.listdir("/proc/self/fd")))
            delete_all(path)
        assert counts[-1] <= counts[0]


# --- two processes and a ledger outside -------------------------------------------------------------------------------

WRITER = """
import json, sys, sonde
rec = sonde.record(sys.argv[1], session_id=sys.argv[2], metrics_interval_s=None, memory_interval_s=None)
i = 0
for line in sys.stdin:
    for _ in range(int(line)):
        rec.emit("n", i=i)
        i += 1
    print(json.dumps({"acknowledged": i, "pending": rec.flush(60).pending}), flush=True)
"""


class Writer:
    """A recorder in a process of its own; what it acknowledged is known here."""

    def __init__(self, path: Path, session_id: str) -> None:
        self.session_id = session_id
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), session_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def begin(self, number: int) -> None:
        """Let it emit so many events, and flush."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Wait for that; how many it has acknowledged in all."""
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        assert said["pending"] == 0
        return int(said["acknowledged"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let it close its recorder and end."""
        self._process.communicate(timeout=LIMIT_S)


@pytest.fixture
def writers(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[Writer]]:
    """As many as the test asks for, on one file."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Writer(tmp_path / "folder" / "runs.db", f"s-{number}"))
            for number in range(request.param)
        ]


@pytest.mark.timeout(600)  # in its long form it starts the command twelve times
@pytest.mark.parametrize("writers", [1, 2], indirect=True, ids=["one process", "two processes"])
def test_doctor_says_what_an_outside_ledger_misses(tmp_path: Path, writers: list[Writer], fault_report: Report) -> None:
    """Whatever becomes of the file: events that are there and those that gaps count are all that was acknowledged."""
    path = tmp_path / "folder" / "runs.db"
    chance = random.Random(20)
    rounds = last_missing = 0
    faults: list[Fault] = [(delete_all, cut_off)[len(writers) - 1]]
    if IS_LONG:
        faults = [*DISAPPEARANCES.values(), delete_log] * 2
    for fault in faults:
        for writer in writers:
            writer.begin(chance.randint(1, 400))
        for writer in writers:
            writer.end()
        fault(path)
        for writer in writers:  # at once: they find it at the same time
            writer.begin(chance.randint(1, 400))
        ledger = [writer.end() for writer in writers]
        rounds += 1
        events = events_of(path)
        missing = 0
        for writer, acknowledged in zip(writers, ledger, strict=True):
            own = [event for event in events if event.session_id == writer.session_id]
            found = numbers(own)
            assert found == list(range(acknowledged - len(found), acknowledged))
            assert sum(told(own).values()) == acknowledged + 1 - len(found)  # its session's start, too
            missing += acknowledged + 1 - len(found)
        command = [sys.executable, "-m", "sonde", "doctor", "--db", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT_S)
        assert done.returncode == 0, (done.stdout, done.stderr)
        said = json.loads(done.stdout)
        assert (said["verdict"], said["missed"]) == ("healthy", missing)
        assert fault is not delete_log or missing == last_missing
        last_missing = missing
    fault_report(
        fault=f"file deleted, moved or cut off, its folder deleted; {len(writers)} recording",
        promised="recording goes on in a new file; what went with the old one is counted exactly",
        seen=f"{rounds} times: `sonde doctor` said exactly what an outside ledger missed",
    )
