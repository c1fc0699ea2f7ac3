"""``sonde backup``: a whole copy, while others record, and never over something by accident."""

import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sonde as library
from sonde.events import Event
from sonde.store import open as open_store


def count(path: Path) -> int:
    with closing(open_store(path, mode="ro")) as store:
        return sum(1 for _ in store.read_all())


def test_a_copy_is_whole_and_private(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """The copy has every event, mode 0600, and nothing beside it; stdout stays empty."""
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    ran = sonde("backup", target)
    assert (ran.code, ran.out) == (0, "")
    assert "copied" in ran.err
    assert count(target) == 12
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(target.parent) == ["copy.db"]


def test_a_copy_while_recording(db: Path, sonde: Any, tmp_path: Path) -> None:
    """What was committed before is in the copy, which is sound; the recorder goes on undisturbed."""
    with library.record(db, session_id="s") as rec:
        for number in range(2000):
            rec.emit("tick", n=number)
        rec.flush()
        assert sonde("backup", tmp_path / "copy.db").code == 0
        rec.emit("tick", n=2000)
        assert rec.flush(timeout_s=20)
    assert count(tmp_path / "copy.db") == 2001
    assert count(db) == 2003
    assert sonde("doctor", "--db", tmp_path / "copy.db").code == 0


def test_an_existing_file_stays(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """Without --force an existing TARGET isn't touched; with it, it is replaced."""
    target = tmp_path / "copy.db"
    target.write_text("precious")
    ran = sonde("backup", target)
    assert ran.code == 2
    assert "--force" in ran.err
    assert target.read_text() == "precious"
    assert sonde("backup", target, "--force").code == 0
    assert count(target) == 12


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_store_is_not_copied_onto_itself(recorded: Path, sonde: Any, tmp_path: Path, force: list[str]) -> None:
    """The store as TARGET, by whatever name, is refused even with --force."""
    alias = tmp_path / "alias.db"
    alias.symlink_to(recorded)
    for target in (recorded, alias, recorded.with_name("runs.db-wal"), recorded.with_name("runs.db-lock")):
        ran = sonde("backup", target, *force)
        assert ran.code == 2
        assert "the store itself" in ran.err
    assert count(recorded) == 12


def test_a_missing_folder_is_not_made(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """A TARGET in a folder that isn't there is more likely misspelt: one line that names the folder, exit code 3."""
    ran = sonde("backup", tmp_path / "typo" / "copy.db")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (3, "", 1)
    assert f"no folder '{tmp_path / 'typo'}'" in ran.err
    assert not (tmp_path / "typo").exists()


def test_json_says_what_was_copied(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """One object on stdout with both paths and the copy's size, and nothing on stderr."""
    target = tmp_path / "copy.db"
    ran = sonde("backup", target, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.documents == [{"db": str(recorded), "path": str(target), "size_bytes": target.stat().st_size}]


def test_a_missing_store(sonde: Any, tmp_path: Path, db: Path) -> None:
    """Without a store nothing is written, and the exit code is 3."""
    ran = sonde("backup", tmp_path / "copy.db")
    assert ran.code == 3
    assert not (tmp_path / "copy.db").exists()
    assert not db.exists()


def test_a_folder_without_permission(open_folder: Path, sonde: Any, sample: Any) -> None:
    """A TARGET in a folder that may not be written is one line and exit code 2."""
    source = open_folder / "runs.db"
    sample.append(source, *sample.agent_run())
    source.chmod(0o644)
    with sample.as_nobody():
        ran = sonde("backup", open_folder / "copy.db", "--db", source)
    assert ran.code == 2
    assert "no permission" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_progress_is_for_terminals_alone(db: Path, sample: Any, tmp_path: Path) -> None:
    """Into a pipe no bar is drawn: stderr is the one line."""
    sample.append(db, *(Event("tick", 10**18, "s", data={"text": "x" * 1000}) for _ in range(5000)))
    command = [sys.executable, "-m", "sonde", "backup", str(tmp_path / "copy.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_said_to_be_the_copy_s(recorded: Path, sonde: Any, tmp_path: Path) -> None:
    """The message names the copy and what helps, not the store that is read, and nothing is left there."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted")
    try:
        for options in ([], ["--plain"]):
            ran = sonde("backup", folder / "copy.db", *options)
            assert (ran.code, os.listdir(folder)) == (2, [])
            assert f"cannot back up to '{folder / 'copy.db'}': the disk is full; make room there" in ran.err
    finally:
        subprocess.run(["umount", str(folder)], check=True)
