"""Words: numbers in memory that outlives the process; where that is gone, the mark's copy counts, and is called one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sonde
from sonde.events import EventType
from sonde.failures import FailureLog
from sonde.journal import Journal, look, place, sweep_memory
from sonde.journal.arena import arenas_of
from sonde.journal.arenas import Arenas
from sonde.journal.mark import CLAIMED, WAITING, Mark
from sonde.recorder import Recovery, pending, recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not os.path.isdir(place.FOLDER), reason="no file system in memory here")


def mark_in(path: Path, writer_id: str = "w") -> Mark:
    return Mark(f"{path}-journal.d", writer_id, session_id="s", durability="commit", has_arenas=False)


def words_of(mark: Mark) -> Path:
    """Where the words of a mark lie."""
    handle = os.open(mark.path, os.O_RDONLY)
    try:
        return Path(place.place_of(handle, "w").path)
    finally:
        os.close(handle)


def gaps(path: Path) -> list[dict[str, object]]:
    with SQLiteStore(path) as store:
        recover(store)
        return [dict(event.data) for event in store.read_by_type("s", EventType.GAP)]


def test_what_a_dead_writer_said_last_counts(tmp_path: Path) -> None:
    """The words are read from memory, which is ahead of the copy; both files go with the recovery."""
    path = tmp_path / "runs.db"
    mark = mark_in(path)
    there = words_of(mark)
    mark.words[CLAIMED] = 5
    mark.copy()
    mark.words[CLAIMED] = 7
    mark.words[WAITING] = 4
    mark.forget()
    assert gaps(path) == [{"missed": 10, "reasons": {"killed": 10}, "at_most": True}]
    assert not there.exists()
    assert not Path(f"{path}-journal.d").exists()


def test_without_that_memory_the_copy_is_an_estimate(tmp_path: Path) -> None:
    """As after the end of a container: the gap says what the copy says, and does not claim that it bounds anything."""
    path = tmp_path / "runs.db"
    mark = mark_in(path)
    mark.words[CLAIMED] = 5
    mark.copy()
    mark.words[CLAIMED] = 7
    words_of(mark).unlink()
    mark.forget()
    assert gaps(path) == [{"missed": 5, "reasons": {"killed": 5}, "estimated": True}]


def test_where_there_is_no_such_memory_the_words_are_in_the_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On other systems they are mapped from the disk: exact after a kill, too."""
    monkeypatch.setattr(place, "FOLDER", str(tmp_path / "nowhere"))
    path = tmp_path / "runs.db"
    mark = mark_in(path)
    mark.words[CLAIMED] = 7
    mark.copy()
    mark.forget()
    assert gaps(path) == [{"missed": 7, "reasons": {"killed": 7}, "at_most": True}]


def test_a_full_memory_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made there: as if there were no such memory."""
    monkeypatch.setattr(place, "FOLDER", "/proc/self/fdinfo")  # nobody makes a file there
    mark = mark_in(tmp_path / "runs.db")
    mark.words[CLAIMED] = 3
    mark.forget()
    assert gaps(tmp_path / "runs.db") == [{"missed": 3, "reasons": {"killed": 3}, "at_most": True}]


@pytest.mark.parametrize(("folder", "said"), [("/proc/self/fdinfo", 1), ("/nowhere", 0)])
def test_it_is_said_when_the_memory_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: str, said: int
) -> None:
    """Then a disk that hangs may hold up the program, which it was to be safe from; a system without is as it is."""
    monkeypatch.setattr(place, "FOLDER", folder)
    with sonde.record(tmp_path / "runs.db", memory_interval_s=None) as rec:
        rec.emit("n")
        assert rec.flush()
        assert rec.stats().failures.get("journal", 0) == said
    assert caplog.text.count("cannot keep the journal of writer") == said


def test_a_copied_folder_has_no_words(tmp_path: Path) -> None:
    """A copy of a store in use, journal and all, is judged by the copy; the writer that lives keeps its own."""
    path = tmp_path / "runs.db"
    with sonde.record(path, session_id="s", memory_interval_s=None) as rec:
        rec.emit("n")
        assert rec.flush()
        live = set(Path(place.FOLDER).glob("sonde-*.words"))
        shutil.copytree(f"{path}-journal.d", tmp_path / "copy.db-journal.d")
        assert [left.words.is_last for left in look(str(tmp_path / "copy.db-journal.d"))] == [False]
        with SQLiteStore(tmp_path / "copy.db") as store:
            assert recover(store).writers == 1
        assert live <= set(Path(place.FOLDER).glob("sonde-*.words"))


def test_another_users_words_are_not_believed(tmp_path: Path) -> None:
    """Anybody may make files in that folder: only those of the mark's owner count."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    path = tmp_path / "runs.db"
    mark = mark_in(path)
    mark.words[CLAIMED] = 5
    mark.copy()
    mark.words[CLAIMED] = 1_000_000
    os.chown(words_of(mark), 65534, 65534)
    mark.forget()
    assert gaps(path) == [{"missed": 5, "reasons": {"killed": 5}, "estimated": True}]


def test_words_without_a_mark_are_swept(tmp_path: Path) -> None:
    """Somebody removed a store with its journal: a day later recorders remove what is left in memory, and no more."""
    gone, used = mark_in(tmp_path / "gone.db"), mark_in(tmp_path / "used.db")
    there, kept = words_of(gone), words_of(used)
    for mark in (gone, used):
        Arenas(mark, max_bytes=1 << 24).close(keep=True)
    arena, kept_arena = (Path(*arenas_of(mark.home)) for mark in (gone, used))
    gone.forget()
    shutil.rmtree(tmp_path / "gone.db-journal.d")
    sweep_memory(str(tmp_path))
    assert there.exists()  # perhaps its mark can be seen from another container alone
    for path in (there, kept, arena, kept_arena):
        os.utime(path, (0, 0))
    sweep_memory(str(tmp_path))
    sweep_memory(str(tmp_path))  # arenas once the words are gone
    assert not there.exists()
    assert not arena.exists()
    assert kept.exists()
    assert kept_arena.exists()
    kept_arena.unlink()
    assert used.is_there()
    assert kept.stat().st_mtime > time.time() - 60  # a writer says now and then that it lives
    used.remove()
    assert not kept.exists()


def test_who_records_looks_at_no_other_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead writer's mark on a disk that hangs does not hold up a recorder elsewhere, and its words stay."""
    mark = mark_in(tmp_path / "hangs.db")
    own = words_of(mark)
    _, device, inode, writer = own.name.split("-")
    there = own.with_name(f"sonde-{int(device, 16) + 1:x}-{inode}-{writer}")
    own.rename(there)
    os.utime(there, (0, 0))
    real = os.stat

    def stat(path: str, *arguments: object, **options: object) -> object:
        assert path != mark.path, "this would wait"
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", stat)
            sonde.record(tmp_path / "runs.db", memory_interval_s=None).close()
        assert there.exists()
    finally:
        there.unlink()
        mark.remove()


@pytest.mark.timeout(20)
def test_what_others_put_there_is_left_alone(tmp_path: Path) -> None:
    """A pipe, a link, somebody's file, with the name of words and years old: nobody waits for it, and it stays."""
    names = [Path(place.FOLDER) / f"sonde-{kind}-0-{os.getpid()}.words" for kind in ("pipe", "link", "text")]
    try:
        os.mkfifo(names[0])
        names[1].symlink_to(tmp_path / "nowhere")
        names[2].write_text("something else")
        for name in (names[0], names[2]):
            os.utime(name, (0, 0))
        with sonde.record(tmp_path / "runs.db", session_id="s", memory_interval_s=None) as rec:
            rec.emit("n")
        assert all(name.is_symlink() or name.exists() for name in names)
        for name in names:
            assert place.read_page(str(name), owners=(os.geteuid(),)) is None
    finally:
        for name in names:
            name.unlink(missing_ok=True)


def test_a_write_that_is_stuck_is_in_the_copy(tmp_path: Path) -> None:
    """The store is locked, a container ends: what waited is in the estimate, since it was noted before the write."""
    path = tmp_path / "runs.db"
    program = (
        "import os, sonde, sys, time, logging\n"
        "logging.disable(logging.CRITICAL)\n"
        "from sonde.store import SQLiteStore\n"
        "rec = sonde.record(sys.argv[1], session_id='s', memory_interval_s=None)\n"
        "assert rec.flush()\n"
        "other = SQLiteStore(sys.argv[1])\n"
        "with other._handle.attached().writing('append to'):\n"
        "    for i in range(300): rec.emit('n', i=i)\n"
        "    rec.flush(1)\n"
        "    os.unlink(rec._journal._mark._place.path)\n"
        f"    os.kill(os.getpid(), {signal.SIGKILL:d})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    (gap,) = gaps(path)
    assert gap["estimated"]
    assert isinstance(gap["missed"], int)
    assert gap["missed"] >= 300


def test_words_that_somebody_removes_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it records, as at the end of a user's last session on some systems: with what they said."""
    monkeypatch.setattr("sonde.journal.journal._LOOK_EVERY_S", 0.0)
    path = tmp_path / "runs.db"
    journal = Journal(
        f"{path}-journal.d", session_id="s", durability="commit", is_full=False, max_bytes=1, failures=FailureLog()
    )
    journal.begin("w")
    journal.open()
    journal.claimed(10)
    Path(place.FOLDER).joinpath(next(name for name in os.listdir(place.FOLDER) if name.endswith("-w.words"))).unlink()
    journal.tidy(lambda: pytest.fail("no arenas"), accounted=0)
    assert journal.failures.counts["journal"] == 1
    journal.begin("")  # as a kill would have it: all is let go
    assert gaps(path) == [{"missed": 10, "reasons": {"killed": 10}, "at_most": True}]


def test_a_mark_that_a_kill_left_unfinished_is_removed(tmp_path: Path) -> None:
    """Killed in the very making of it: nothing was published. A minute later what was made goes, and nothing else."""
    path = tmp_path / "runs.db"
    program = (
        "import os, sonde, sys\n"
        "os.rename = lambda *_: os.kill(os.getpid(), 9)\n"
        "sonde.record(sys.argv[1], durability='emit', memory_interval_s=None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    (new,) = Path(f"{path}-journal.d").iterdir()
    with new.open("rb") as file:
        there = Path(place.place_of(file.fileno(), new.name.removesuffix(".mark.new")).path)
    assert there.exists()
    with SQLiteStore(path) as store:
        assert recover(store) == Recovery()
        assert new.exists()  # perhaps it is about to be locked
        os.utime(new, (0, 0))
        assert recover(store) == Recovery()
    assert not new.parent.exists()
    assert not there.exists()


def test_the_copy_is_level_once_the_recorder_rests(tmp_path: Path) -> None:
    """A container that ends while the agent waits for its model: nothing is missing, and nothing is said to be."""
    path = tmp_path / "runs.db"
    program = (
        "import os, sonde, sys, time\n"
        "rec = sonde.record(sys.argv[1], session_id='s', memory_interval_s=None)\n"
        "for i in range(500): rec.emit('n', i=i)\n"
        "rec.flush()\n"
        "while rec._journal._mark.words[2] != 1: time.sleep(0.01)\n"
        "mark = open(rec._journal._mark.path, 'rb')\n"
        "while os.pread(mark.fileno(), 24, 8) != bytes(rec._journal._mark._map[8:32]): time.sleep(0.01)\n"
        "os.unlink(rec._journal._mark._place.path)\n"
        f"os.kill(os.getpid(), {signal.SIGKILL:d})\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    with SQLiteStore(path) as store:
        assert pending(store) == Recovery(1, 0, 0, 0, is_estimate=True)
        assert len(list(store.read_by_type("s", "n"))) == 500
    assert gaps(path) == []


def test_a_mark_that_is_made_again_says_at_once_what_the_other_said(tmp_path: Path) -> None:
    """A kill in the middle of making it finds the numbers, and not a fresh start."""
    path = tmp_path / "runs.db"
    mark = mark_in(path)
    mark.words[CLAIMED] = 10
    words_of(mark).unlink()
    again = Mark(f"{path}-journal.d", "w", session_id="s", durability="commit", has_arenas=False, instead_of=mark)
    there = words_of(again)
    assert again.words[CLAIMED] == 10
    assert there.read_bytes()[8:16] == (10).to_bytes(8, sys.byteorder)
    there.unlink()
    mark.forget()
    again.forget()
    assert gaps(path) == [{"missed": 10, "reasons": {"killed": 10}, "estimated": True}]


def test_what_is_said_while_a_mark_is_made_again_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's thread goes on publishing meanwhile, and may then rest: no older number takes the place of its last."""
    monkeypatch.setattr("sonde.journal.journal._LOOK_EVERY_S", 0.0)
    path = tmp_path / "runs.db"
    journal = Journal(
        f"{path}-journal.d", session_id="s", durability="commit", is_full=False, max_bytes=1, failures=FailureLog()
    )
    journal.begin("w")
    journal.open()
    journal.claimed(10)
    Path(f"{path}-journal.d/w.mark").unlink()
    take_over = Mark.take_over

    def meanwhile(new: Mark, other: Mark) -> None:
        before = new.words[CLAIMED]
        journal.claimed(500)
        take_over(new, other)
        new.words[CLAIMED] = before  # as if that had come between its look and its store

    with monkeypatch.context() as patched:
        patched.setattr(Mark, "take_over", meanwhile)
        journal.tidy(lambda: pytest.fail("no arenas"), accounted=0)
    journal.begin("")  # as a kill would have it
    assert gaps(path) == [{"missed": 500, "reasons": {"killed": 500}, "at_most": True}]


def test_a_copy_is_written_only_if_something_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle recorder leaves the disk in peace."""
    mark = mark_in(tmp_path / "runs.db")
    mark.copy()
    monkeypatch.setattr("sonde.journal.mark.os.pwrite", lambda *_: pytest.fail("nothing has changed"))
    mark.copy()
    monkeypatch.undo()
    mark.remove()


def test_a_child_lets_go_of_what_its_parent_could_not_close(tmp_path: Path) -> None:
    """After a close() that left a stuck disk alone, a forked child doesn't keep the mark locked for its own life."""
    path = tmp_path / "runs.db"
    journal = Journal(
        f"{path}-journal.d", session_id="s", durability="commit", is_full=False, max_bytes=1, failures=FailureLog()
    )
    journal.begin("w")
    journal.open()
    journal.claimed(10)
    journal.close(is_all_written=False, is_disk_stuck=True)
    assert look(f"{path}-journal.d") == []  # the writer may still come back from the disk
    journal.begin("child")
    (left,) = look(f"{path}-journal.d")
    assert (left.words.claimed, left.words.ended) == (10, 1)
    journal.leave()
    assert gaps(path) == [{"missed": 10, "reasons": {"not_written": 10}, "at_most": True}]


@pytest.mark.parametrize("where", ["is_possible", "_new_mark", "_show"])
def test_an_interrupted_opening_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """An exception of a signal handler, wherever it comes: the next event makes the mark, and nothing is left over."""
    path = tmp_path / "runs.db"
    journal = Journal(
        f"{path}-journal.d", session_id="s", durability="commit", is_full=False, max_bytes=1, failures=FailureLog()
    )
    journal.begin("w")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def there() -> set[str]:
        return {name for name in os.listdir(place.FOLDER) if name.endswith("-w.words")}

    before = there()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.claimed(5)
    assert there() <= before
    journal.claimed(6)
    assert look(f"{path}-journal.d") == []  # it is there, and locked
    assert os.path.exists(f"{path}-journal.d/w.mark")
    journal.close(is_all_written=True)
    assert not os.path.exists(f"{path}-journal.d")
    assert there() <= before
