"""Liveness: a writer is alive as long as its process is, and dead however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from sonde.errors import StoreUnavailableError
from sonde.store import Liveness, SQLiteStore

HOLD = """
import sys
from sonde.store import SQLiteStore
store = SQLiteStore(sys.argv[1])
store.register_writer("w-child")
print("ready", flush=True)
sys.stdin.read()
store.close()
"""


def held_by_a_child(path: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def ended(child: subprocess.Popen[str]) -> None:
    child.communicate(timeout=30)


def altered(path: Path, assignment: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"UPDATE writers SET {assignment}")
    connection.close()


def test_another_process_is_alive_until_killed(tmp_path: Path) -> None:
    """``kill -9`` makes it dead at once, without its doing."""
    with SQLiteStore(tmp_path / "e.db") as store:
        child = held_by_a_child(tmp_path / "e.db")
        assert store.liveness("w-child") is Liveness.ALIVE
        child.send_signal(signal.SIGKILL)
        ended(child)
        assert store.liveness("w-child") is Liveness.DEAD


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    """A killed process is dead, though its parent (a container's first process, say) never asks what became of it."""
    with SQLiteStore(tmp_path / "e.db") as store:
        child = held_by_a_child(tmp_path / "e.db")
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
        assert store.liveness("w-child") is Liveness.DEAD
        ended(child)


def test_closing_the_store_ends_its_writers(tmp_path: Path) -> None:
    """A store that closes in order releases its writers; file and folder are gone."""
    with SQLiteStore(tmp_path / "e.db") as store:
        child = held_by_a_child(tmp_path / "e.db")
        assert (tmp_path / "e.db-live" / "w-child").exists()
        ended(child)
        assert store.liveness("w-child") is Liveness.DEAD
        assert not (tmp_path / "e.db-live").exists()


def test_looking_disturbs_nobody(tmp_path: Path) -> None:
    """The recording process may look at its own writer, often, and stays alive to others."""
    with SQLiteStore(tmp_path / "e.db") as store, SQLiteStore(tmp_path / "e.db") as other:
        store.register_writer("w")
        for _ in range(20):
            assert store.liveness("w") is Liveness.ALIVE
            assert other.liveness("w") is Liveness.ALIVE


def test_a_name_is_held_by_one_process(tmp_path: Path) -> None:
    """A second process cannot record under a name that lives."""
    with SQLiteStore(tmp_path / "e.db") as store:
        child = held_by_a_child(tmp_path / "e.db")
        with pytest.raises(StoreUnavailableError, match="another process records under this name"):
            store.register_writer("w-child")
        ended(child)
        store.register_writer("w-child")
        assert store.liveness("w-child") is Liveness.ALIVE


def test_without_its_file_the_process_decides(tmp_path: Path) -> None:
    """Boot id, pid and start time tell, when somebody removed the file."""
    with SQLiteStore(tmp_path / "e.db") as store:
        store.register_writer("w")
        (tmp_path / "e.db-live" / "w").unlink()
        assert store.liveness("w") is Liveness.ALIVE
        altered(tmp_path / "e.db", "process_start = process_start - 1")
        assert store.liveness("w") is Liveness.DEAD


@pytest.mark.parametrize("assignment", ["boot = 'another'", "pid = 999999999"])
def test_another_boot_or_process_is_dead(tmp_path: Path, assignment: str) -> None:
    """A pid is given again; a boot isn't."""
    with SQLiteStore(tmp_path / "e.db") as store:
        store.register_writer("w")
        (tmp_path / "e.db-live" / "w").unlink()
        altered(tmp_path / "e.db", assignment)
        assert store.liveness("w") is Liveness.DEAD


def test_another_host_is_unknown(tmp_path: Path) -> None:
    """Nothing here tells about a process elsewhere."""
    with SQLiteStore(tmp_path / "e.db") as store:
        store.register_writer("w")
        (tmp_path / "e.db-live" / "w").unlink()
        altered(tmp_path / "e.db", "host = 'far.example'")
        assert store.liveness("w") is Liveness.UNKNOWN


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc/x", "x" * 300, "nul\0", "\ud800", ""])
def test_odd_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    """A writer's name never becomes a path."""
    folder = tmp_path / "deep" / "er"
    with SQLiteStore(folder / "e.db") as store:
        store.register_writer(name)
        assert store.liveness(name) is Liveness.ALIVE
        assert len(list((folder / "e.db-live").iterdir())) == 1
        store.release_writer(name)
        assert store.liveness(name) is Liveness.DEAD
    assert os.listdir(folder) == ["e.db"]


def test_writers_share_the_folder(tmp_path: Path) -> None:
    """The folder stays until the last has gone."""
    with SQLiteStore(tmp_path / "e.db") as store:
        store.register_writer("a")
        store.register_writer("b")
        store.release_writer("a")
        assert [path.name for path in (tmp_path / "e.db-live").iterdir()] == ["b"]
        assert store.liveness("b") is Liveness.ALIVE


def test_a_name_whose_lock_was_removed_can_live_again(tmp_path: Path) -> None:
    """What the store remembers of the dead is taken back by whoever registers under their name."""
    with SQLiteStore(tmp_path / "e.db") as store:
        child = held_by_a_child(tmp_path / "e.db")
        assert store.remove_stale_locks() == 0
        assert store.liveness("w-child") is Liveness.ALIVE
        child.kill()
        ended(child)
        assert store.remove_stale_locks() == 1
        assert store.liveness("w-child") is Liveness.DEAD
        child = held_by_a_child(tmp_path / "e.db")
        assert store.liveness("w-child") is Liveness.ALIVE
        ended(child)
