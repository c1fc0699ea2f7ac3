"""``sonde doctor``: a sound store is healthy; every kind of damage is found and named."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest

from sonde.cli import surroundings as looks
from sonde.cli.documents import DoctorDocument
from sonde.cli.surroundings import Surroundings, file_system
from sonde.events import Event


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.fixture
def sound(db: Path, sample: Any) -> Path:
    """A store with one session and no loss."""
    sample.append(db, *(event for event in sample.agent_run() if event.type != "sonde.gap"))
    return db


def test_a_sound_store_is_healthy(sound: Path, sonde: Any) -> None:
    """Exit code 0, a verdict, no remark, and the figures."""
    ran = sonde("doctor")
    assert ran.code == 0
    assert "✓ healthy: every event is what was written, none is missing\n" in ran.out
    assert "11 in 1 session" in ran.out
    assert "mode 0600" in ran.out
    assert "none now" in ran.out


def test_the_document_has_the_promised_fields(sound: Path, sonde: Any) -> None:
    """--json prints one object with the documented fields."""
    (document,) = sonde("doctor", "--json").documents
    assert list(document) == list(DoctorDocument.__struct_fields__)
    assert (document["verdict"], document["damage"], document["remarks"]) == ("healthy", [], [])
    assert (document["events"], document["sessions"], document["mode"]) == (11, 1, "0600")
    assert document["size_bytes"] == os.path.getsize(sound)
    assert document["engine"].startswith("SQLite 3.")
    assert document["pages"] > 0


def test_an_altered_event_is_found(sound: Path, sonde: Any) -> None:
    """An event that isn't what was written is damage: exit code 1, with stream and version."""
    alter(sound, """UPDATE events SET data = '{"tool":"other"}' WHERE version = 3""")
    ran = sonde("doctor")
    assert ran.code == 1
    assert "✗ damaged in 1 place" in ran.out
    assert "'fix-42' version 3" in ran.out
    (document,) = sonde("doctor", "--json").documents
    assert document["verdict"] == "damaged"
    assert len(document["damage"]) == 1


def test_a_missing_event_is_found(sound: Path, sonde: Any) -> None:
    """A hole in a stream's versions is damage."""
    alter(sound, "DELETE FROM events WHERE version = 5")
    ran = sonde("doctor")
    assert ran.code == 1
    assert "hole: stream 'fix-42'" in ran.out


def test_unreadable_data_is_found(sound: Path, sonde: Any) -> None:
    """Data that is no JSON is damage, and doesn't end the examination."""
    alter(sound, "UPDATE events SET data = '{broken' WHERE version = 3")
    alter(sound, """UPDATE events SET data = '{"n":1}' WHERE version = 7""")
    (document,) = sonde("doctor", "--json").documents
    assert sum("version 3" in text for text in document["damage"]) >= 1
    assert sum("version 7" in text for text in document["damage"]) >= 1


def test_broken_pages_are_found(db: Path, sonde: Any, sample: Any) -> None:
    """Garbage in the middle of the file is damage: exit code 1 and no traceback."""
    sample.append(db, *(Event("tick", 10**18, "s", data={"text": f"{n} " * 200}) for n in range(2000)))
    with db.open("r+b") as file:
        file.seek(db.stat().st_size // 2)
        file.write(b"\xa5" * 20_000)
    ran = sonde("doctor")
    assert ran.code == 1
    assert "✗ damaged" in ran.out
    assert "Traceback" not in ran.err


def test_losses_are_remarks(recorded: Path, sonde: Any) -> None:
    """Events that the recorder says it lost are a remark, not damage."""
    ran = sonde("doctor")
    assert ran.code == 0
    assert "12 events never reached the store, in fix-42" in ran.out
    assert "✓ healthy" in ran.out
    assert "1 remark" in ran.out


def test_a_dead_process_is_a_remark(killed: Path, sonde: Any) -> None:
    """A session whose process died is named as interrupted."""
    ran = sonde("doctor")
    assert ran.code == 0
    assert "1 session interrupted: killed-1" in ran.out


def test_a_live_writer_is_counted(living: Path, sonde: Any) -> None:
    """A process that records now is seen, and is not in the way."""
    (document,) = sonde("doctor", "--json").documents
    assert (document["verdict"], document["live_writers"], document["running"]) == ("healthy", 1, ["living-1"])


def test_a_file_that_others_may_read_is_a_remark(sound: Path, sonde: Any) -> None:
    """A mode other than 0600 is told with the command that mends it."""
    sound.chmod(0o644)
    ran = sonde("doctor")
    assert ran.code == 0
    assert "mode 0644" in ran.out
    assert "chmod 600" in ran.out


def test_free_pages_are_counted(db: Path, sonde: Any, sample: Any) -> None:
    """Pages that hold nothing any more are in the figures."""
    sample.append(db, *(Event("tick", 10**18, "s", data={"text": "x" * 400}) for _ in range(1_000)))
    alter(db, "CREATE TABLE spare AS SELECT * FROM events")
    alter(db, "DROP TABLE spare")
    (document,) = sonde("doctor", "--json").documents
    assert document["free_pages"] > 50
    assert "free" in sonde("doctor").out


def test_a_file_that_is_no_store(db: Path, sonde: Any) -> None:
    """What isn't a store at all is bad input, not damage."""
    db.write_text("hello " * 100)
    assert sonde("doctor").code == 2


def test_the_original_s_file(sonde: Any, original: Any) -> None:
    """A database of the Go original is said to be one, and to be without checksums nothing is claimed of it."""
    ran = sonde("doctor", "--db", original("telemetry.db"))
    assert ran.code == 0
    assert "the Go original's" in ran.out
    assert "every event is what was written" not in ran.out


def test_the_file_system_is_named(tmp_path: Path) -> None:
    """The file system is that of the innermost mount."""
    if not os.path.exists("/proc/self/mounts"):
        pytest.skip("needs Linux's list of mounts")
    assert file_system("/proc/self/status") == "proc"
    assert file_system(str(tmp_path)) not in ("", "proc")


@pytest.mark.parametrize(
    ("kind", "remark"),
    [
        ("nfs4", "on a network file system (nfs4)"),
        ("fuse.s3fs", "on a network file system (fuse.s3fs)"),
        ("virtiofs", "in a folder that a virtual machine shares with its host (virtiofs)"),
        ("ext4", ""),
        ("overlay", ""),
        ("fuse", ""),
        ("", ""),
    ],
)
def test_a_disk_that_other_machines_see_is_a_remark(
    kind: str, remark: str, sound: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks may not hold between hosts, or kernels: the remark names the file system; a local one is none."""
    monkeypatch.setattr(looks, "file_system", lambda _path: kind)
    (document,) = sonde("doctor", "--json").documents
    assert (document["verdict"], document["file_system"]) == ("healthy", kind)
    wanted = f"the file lies {remark}; record to a local disk, and copy with `sonde backup`"
    assert document["remarks"] == ([wanted] if remark else [])


@pytest.mark.parametrize(("free_mib", "warns"), [(255, True), (256, False)])
def test_little_room_is_a_remark(
    free_mib: int, warns: bool, sound: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than 256 MiB are free on the disk: the remark says how much, and what happens when it is full."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_mib << 20))
    (document,) = sonde("doctor", "--json").documents
    assert (document["verdict"], document["free_bytes"]) == ("healthy", free_mib << 20)
    assert [text for text in document["remarks"] if "are free on its disk" in text] == document["remarks"]
    assert len(document["remarks"]) == warns


def test_a_small_disk_has_little_room(sound: Path, sonde: Any, tmp_path: Path) -> None:
    """The room is that of the disk on which the file lies, and the disk is named."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mounting, check=False).returncode:
        pytest.skip("needs root, to mount a file system")
    try:
        small = Path(shutil.copy2(sound, disk))
        (document,) = sonde("doctor", "--json", "--db", small).documents
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert (document["verdict"], document["file_system"]) == ("healthy", "tmpfs")
    assert 0 < document["free_bytes"] < 4 << 20
    assert ["are free on its disk" in text for text in document["remarks"]] == [True]


def test_a_large_log_is_a_remark(db: Path, sonde: Any, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that never ends keeps the log full: a remark says how much it holds, until a writer can empty it."""
    monkeypatch.setattr(looks, "_LARGE_WAL_BYTES", 1 << 20)
    sample.append(db, Event("tick", 10**18, "s"))
    with closing(apsw.Connection(str(db), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.execute("BEGIN; SELECT count(*) FROM events").fetchall()
        for first in range(2, 2_002, 500):
            events = [Event("tick", 10**18, "s", data={"n": n, "text": "x" * 450}) for n in range(500)]
            sample.append(db, *events, first_seq=first)
        (document,) = sonde("doctor", "--json").documents
        assert document["verdict"] == "healthy"
        (remark,) = document["remarks"]
        assert remark.startswith("the log beside the file holds 1.")
        assert remark.endswith("; end programs that read the store and do not go on")
    sample.append(db, Event("tick", 10**18, "s"), first_seq=2_002)
    (document,) = sonde("doctor", "--json").documents
    assert document["remarks"] == []


def test_other_names_of_the_file_are_remarks(sound: Path, sonde: Any) -> None:
    """Hard links and symbolic links make programs miss each other's journals; the remark says what to do."""
    os.link(sound, sound.with_name("other.db"))
    ran = sonde("doctor")
    assert ran.code == 0
    assert "2 names (hard links)" in ran.out
    (document,) = sonde("doctor", "--json").documents
    assert document["links"] == 2
    link = sound.with_name("link.db")
    link.symlink_to(sound)
    assert f"use '{sound.resolve()}' everywhere" in sonde("doctor", "--db", link).out.replace("\n", "")


def test_what_killed_processes_left_is_a_remark(sound: Path, sonde: Any) -> None:
    """Lock files of nobody, and arenas that belong to no writer."""
    live, journal = Path(f"{sound}-live"), Path(f"{sound}-journal.d")
    for folder, name in ((live, "w-9"), (journal, "w-9.1.65536.65536.arena")):
        folder.mkdir(mode=0o700)
        (folder / name).touch()
    ran = sonde("doctor")
    assert ran.code == 0
    assert "1 lock file of killed processes" in ran.out
    assert "without a writer" in ran.out
    (document,) = sonde("doctor", "--json").documents
    assert (document["stale_locks"], document["orphaned_arenas"]) == (1, 1)


def test_recover_removes_the_locks_of_dead_processes(living: Path, sonde: Any) -> None:
    """What a live process holds stays, and so does that process's liveness."""
    stale = Path(f"{living}-live") / "w-9"
    stale.touch()
    ran = sonde("doctor", "--recover")
    assert ran.code == 0
    assert "1 lock file of killed processes removed" in ran.out
    assert not stale.exists()
    (document,) = sonde("doctor", "--json").documents
    assert (document["stale_locks"], document["live_writers"]) == (0, 1)


def test_a_live_writer_s_lock_is_not_stale(living: Path, sonde: Any) -> None:
    """A lock that is held is nobody's remains, nor is its journal."""
    (document,) = sonde("doctor", "--json").documents
    assert (document["stale_locks"], document["orphaned_arenas"], document["journals"]) == (0, 0, 0)
    assert document["strays"] == []


def test_a_process_that_has_a_removed_file_open_is_found(sound: Path, sonde: Any) -> None:
    """What it writes there, nobody sees. A recorder of this release notices by itself, others don't."""
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("needs Linux's /proc")
    holder = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(sound)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        content = sound.read_bytes()
        os.unlink(sound)
        sound.write_bytes(content)
        (document,) = sonde("doctor", "--json").documents
        process.communicate("\n", timeout=60)
    assert document["strays"] == [process.pid]
    assert any(f"process {process.pid} has a file of this name open" in text for text in document["remarks"])


def test_bytes_behind_the_end_are_a_remark(sound: Path, sonde: Any) -> None:
    """SQLite never looks there, so nothing is damaged."""
    with sound.open("ab") as file:
        file.write(b"garbage" * 1000)
    ran = sonde("doctor")
    assert ran.code == 0
    assert "7000 bytes behind the end" in ran.out.replace(",", "").replace("\n", " ")


def test_an_sqlite_with_the_race_is_a_remark() -> None:
    """Those from 3.7.0 to 3.51.2 can damage a file that two processes write to."""
    for engine, warns in (("SQLite 3.40.1", 1), ("SQLite 3.51.2", 1), ("SQLite 3.51.3", 0), ("SQLite 3.6.9", 0)):
        surroundings = Surroundings("runs.db")
        surroundings.look_at_engine(engine)
        assert len(surroundings.remarks) == warns


def test_an_event_that_the_store_does_not_know_is_found(sound: Path, sonde: Any) -> None:
    """An identity that is missing would let a retry write the event a second time."""
    alter(sound, "UPDATE seen SET last = last - 1")
    ran = sonde("doctor")
    assert ran.code == 1
    assert "isn't among the numbers that the store has seen" in ran.out.replace("\n", " ")


def test_every_remark_says_what_to_do(killed: Path, sonde: Any) -> None:
    """Fact, then remedy."""
    killed.chmod(0o644)
    (document,) = sonde("doctor", "--json").documents
    assert document["remarks"]
    assert all(";" in text for text in document["remarks"] if "taken in" not in text)


@pytest.mark.parametrize("options", [[], ["--recover"], ["--repair"]])
def test_what_is_no_file_is_said_to_be_none(options: list[str], db: Path, sonde: Any) -> None:
    """A named pipe is not waited for, a folder is not missing, and nobody is told to repair either."""
    os.mkfifo(db)
    ran = sonde("doctor", *options)
    assert (ran.code, ran.out) == (2, "")
    assert "it is no regular file" in ran.err
    assert "saves what can be read" not in ran.err
    db.unlink()
    db.mkdir()
    ran = sonde("doctor", *options)
    assert (ran.code, ran.out) == (2, "")
    assert "saves what can be read" not in ran.err
    assert "no such file" not in ran.err


def test_recover_makes_no_store_of_an_empty_file(db: Path, sonde: Any) -> None:
    """It is said to be empty, as without --recover, and stays so."""
    db.touch()
    ran = sonde("doctor", "--recover")
    assert (ran.code, "the file is empty" in ran.err, db.stat().st_size) == (3, True, 0)
