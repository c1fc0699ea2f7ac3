"""Containers: a host name and a memory of their own, one kernel, and a store on a volume that others see, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sonde.events import EventType
from sonde.query import Status, list_sessions
from sonde.recorder import Recovery, pending, recover
from sonde.store import Liveness, SQLiteStore
from sonde.store.liveness import LockFiles, remove_stale_locks

COUNT = 500

# As a container runtime does it.
CONTAINER = [
    "unshare",
    "--uts",
    "--mount",
    "sh",
    "-c",
    'hostname c0ffee && mount -t tmpfs tmpfs /dev/shm && exec "$@"',
    "-",
]

# The store is locked by the program itself, so that nothing is committed and all that it emits waits.
AGENT = """
import os, sys, time, apsw, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability=sys.argv[2], journal=sys.argv[3], memory_interval_s=None)
rec.emit("n", i=0)
assert rec.flush()
if sys.argv[4] == "stay":
    print("ready", flush=True)
    sys.stdin.readline()
    rec.close()
    sys.exit()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
for i in range(1, int(sys.argv[4])):
    rec.emit("n", i=i)
rec.hub.flush()
words = rec._journal._mark
with open(words.path, "rb") as mark:  # the copy is level before each try
    while os.pread(mark.fileno(), 24, 8) != bytes(words._map[8:32]):
        time.sleep(0.01)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def _container() -> None:
    try:
        done = subprocess.run([*CONTAINER, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if done.returncode:
        pytest.skip("needs the right to make namespaces: run as root")


def killed_agent(path: Path, durability: str, journal: str) -> None:
    command = [*CONTAINER, sys.executable, "-c", AGENT, str(path), durability, journal, str(COUNT)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr


def seen(path: Path) -> tuple[Liveness, Status]:
    """What is said of the one program that records there, and of its session."""
    with SQLiteStore(path, mode="ro") as store:
        (session,) = list_sessions(store)
        (writer,) = {event.writer_id for event in store.read("s")}
        return store.liveness(writer), session.status


def numbers(store: SQLiteStore) -> list[int]:
    return [event.data["i"] for event in store.read_by_type("s", "n")]


def test_a_journal_on_the_disk_outlives_the_container(tmp_path: Path) -> None:
    """Killed with all that it had in memory: the next one on that machine, of another name, takes in every event."""
    path = tmp_path / "runs.db"
    killed_agent(path, "emit", "disk")
    with SQLiteStore(path) as store:
        assert pending(store).events == COUNT - 1
        assert recover(store) == Recovery(1, COUNT - 1, 0, 0)
        assert numbers(store) == list(range(COUNT))
        assert not list(store.read_by_type("s", EventType.GAP))


def test_what_lies_in_a_containers_memory_is_left_to_it(tmp_path: Path) -> None:
    """It may start the agent again: from outside nothing is taken, and the next program there has every event."""
    path = tmp_path / "runs.db"
    agent = [sys.executable, "-c", AGENT, str(path), "emit", "memory", str(COUNT)]
    following = f'exec {sys.executable} -c "$NEXT" {path}'
    command = [*CONTAINER, "sh", "-c", f'"$@"; echo dead; read line; {following}', "-", *agent]
    environment = {**os.environ, "NEXT": "import sonde, sys; sonde.record(sys.argv[1], session_id='next').close()"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as container:
        assert container.stdout is not None
        assert container.stdout.readline() == "dead\n"
        with SQLiteStore(path) as store:
            assert recover(store) == pending(store) == Recovery()
        container.communicate("go on\n", timeout=60)
    assert container.returncode == 0
    with SQLiteStore(path) as store:
        assert numbers(store) == list(range(COUNT))
        assert not list(store.read_by_type("s", EventType.GAP))


@pytest.mark.parametrize("durability", ["commit", "emit"])
def test_what_went_with_a_containers_memory_is_counted(tmp_path: Path, durability: str) -> None:
    """A day later, by the copy in the mark: a gap says how many events are missing by an estimate."""
    path = tmp_path / "runs.db"
    killed_agent(path, durability, "memory")
    with SQLiteStore(path) as store:
        assert recover(store) == pending(store) == Recovery()
        for mark in Path(f"{path}-journal.d").iterdir():
            os.utime(mark, (0, 0))
        found = recover(store)
        assert (found.writers, found.events, found.is_estimate) == (1, 0, True)
        assert numbers(store) == [0]
        (gap,) = store.read_by_type("s", EventType.GAP)
        assert gap.data["estimated"]
        assert gap.data["missed"] >= COUNT - 1


def test_a_program_in_another_container_is_seen_to_live_and_to_die(tmp_path: Path) -> None:
    """By its locks, which are the kernel's: its journal is left alone while it lives; killed, it was interrupted."""
    path = tmp_path / "runs.db"
    command = [*CONTAINER, sys.executable, "-c", AGENT, str(path), "commit", "memory", "stay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "ready\n"
            with SQLiteStore(path) as store:
                assert recover(store) == Recovery()
                assert store.remove_stale_locks() == 0
            assert seen(path) == (Liveness.ALIVE, Status.RUNNING)
        finally:
            agent.kill()
    assert seen(path) == (Liveness.DEAD, Status.INTERRUPTED)


def test_a_dead_program_stays_dead_when_its_lock_is_removed(tmp_path: Path) -> None:
    """Once nothing but its lock told, the store remembers: its session stays interrupted."""
    path = tmp_path / "runs.db"
    killed_agent(path, "commit", "memory")
    assert seen(path) == (Liveness.DEAD, Status.INTERRUPTED)
    with SQLiteStore(path) as store:
        assert store.remove_stale_locks() == 1
        assert store.remove_stale_locks() == 0
    assert not Path(f"{path}-live").exists()
    assert seen(path) == (Liveness.DEAD, Status.INTERRUPTED)


# The upper folder of an overlay is what an engine keeps of a container's own files on the machine.
OVERLAY = """
cd "$0" && mkdir -p low up work merged && mount -t overlay -o lowerdir=low,upperdir=up,workdir=work overlay merged &&
exec "$@"
"""


def test_locks_that_cannot_be_seen_are_no_sign_of_death(tmp_path: Path) -> None:
    """Looked at beneath its overlay, a living program's locks seem free: nobody can tell, and they stay."""
    path = tmp_path / "up" / "runs.db"
    command = ["unshare", "--mount", "sh", "-c", OVERLAY, str(tmp_path), *CONTAINER]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system that an overlay can lie on")
    inside = [sys.executable, "-c", AGENT, str(tmp_path / "merged" / "runs.db"), "commit", "memory", "stay"]
    with subprocess.Popen([*command, *inside], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == "ready\n"
            with SQLiteStore(path.with_name("runs.db"), mode="ro") as store:
                (writer,) = {event.writer_id for event in store.read("s")}
            assert LockFiles(f"{path}-live").is_held(writer) is None
            assert remove_stale_locks(f"{path}-live") == 0
        finally:
            agent.kill()
