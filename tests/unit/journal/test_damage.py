"""Damage: what comes back from files of a dead writer that somebody changed, cut off or removed; the rest counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sonde.events import EventType, PublishedEvent
from sonde.failures import FailureLog
from sonde.journal.arena import arenas_of
from sonde.journal.arenas import Arenas
from sonde.journal.journal import Journal
from sonde.journal.mark import WAITING, Mark
from sonde.journal.record import HEADER, pack_record
from sonde.recorder.recovery import Recovery, pending, recover
from sonde.store import SQLiteStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the journal needs Linux")

COUNT = 5000


def event(seq: int) -> PublishedEvent:
    return PublishedEvent("n", seq, "s", data={"text": "x" * 100}, writer_id="w", seq=seq)


def full_journal(path: Path, *, in_memory: bool = True) -> Journal:
    """One of durability emit, not open yet."""
    return Journal(
        f"{path}-journal.d",
        session_id="s",
        durability="emit",
        is_full=True,
        max_bytes=1 << 28,
        failures=FailureLog(),
        in_memory=in_memory,
    )


class Stuck:
    def is_passed(self) -> bool:
        return False


@pytest.fixture(params=["memory", "disk"])
def in_memory(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "memory")


def dead_writer(path: Path, *, in_memory: bool) -> list[Path]:
    """A writer of 5,000 events that went as a kill would have it; its arenas."""
    folder = f"{path}-journal.d"
    mark = Mark(folder, "w", session_id="s", durability="emit", has_arenas=True, in_memory=in_memory)
    arenas = Arenas(mark, max_bytes=1 << 28)
    record = arenas.recording(lambda _: None)
    for seq in range(1, COUNT + 1):
        record(event(seq))
    mark.words[WAITING] = COUNT + 1  # none was taken from the inbox yet
    arenas.close(keep=True)
    mark.forget()
    return sorted(map(Path, arenas_of(mark.home)), key=lambda path: int(path.name.split(".")[1]))


def recovered(path: Path) -> tuple[Recovery, int, int]:
    """What recovery says, how many events are there, and how many the gap says are missing; nothing is left."""
    with SQLiteStore(path) as store:
        said = pending(store)
        found = recover(store)
        assert (said.events, said.missed) == (found.events, found.missed)
        there = [each.seq for each in store.read_by_type("s", "n")]
        assert len(there) == len(set(there)) == found.events
        missed = sum(gap.data["missed"] for gap in store.read_by_type("s", EventType.GAP))
        assert recover(store) == Recovery()
        assert missed == found.missed
    assert not os.path.exists(f"{path}-journal.d")
    return found, len(there), missed


def test_an_undamaged_journal_misses_nothing(tmp_path: Path, in_memory: bool) -> None:
    """The measure of the tests below."""
    dead_writer(tmp_path / "runs.db", in_memory=in_memory)
    assert recovered(tmp_path / "runs.db") == (Recovery(1, COUNT, 0, 0), COUNT, 0)


@pytest.mark.parametrize("bits", [1, 5, 40])
def test_flipped_bits_cost_the_records_that_they_hit(
    tmp_path: Path, fault_report: Callable[..., None], in_memory: bool, bits: int
) -> None:
    """All others are recovered, those behind the damage included, and exactly the lost ones are counted."""
    path = tmp_path / "runs.db"
    first = dead_writer(path, in_memory=in_memory)[0]
    content = bytearray(first.read_bytes())
    begin = len(content) - len(content.lstrip(b"\0"))
    for number in range(bits):  # each in another record of one segment
        content[begin + 30 + 500 * number] ^= 0x10
    first.write_bytes(content)
    found, there, missed = recovered(path)
    assert (there, missed) == (COUNT - bits, bits)
    assert found.torn == bits
    fault_report(
        fault="bits are flipped in what a killed process left at durability emit",
        promised="the records that they hit are found by their checksum and counted as missing; all others are there",
        seen={"bits": bits, "events": COUNT, "missing, all counted": missed},
    )


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


@pytest.mark.parametrize("damage", [cut_off, emptied, noise, os.unlink])
def test_a_file_that_is_no_longer_what_it_was(
    tmp_path: Path, fault_report: Callable[..., None], in_memory: bool, damage: Callable[[Path], None]
) -> None:
    """What the other files hold is recovered, and exactly what this one held is counted as missing."""
    path = tmp_path / "runs.db"
    arenas = dead_writer(path, in_memory=in_memory)
    assert len(arenas) >= 2
    damage(arenas[0])
    _, there, missed = recovered(path)
    assert 0 < there < COUNT
    assert missed == COUNT - there
    fault_report(
        fault="a file that a killed process left at durability emit is cut off, emptied, overwritten, removed",
        promised="what its other files hold is taken in, and what this one held is counted as missing",
        seen={"files": 1, "events": COUNT, "missing, all counted": missed},
    )


def test_a_record_that_a_kill_cut_off_is_no_loss(tmp_path: Path, in_memory: bool) -> None:
    """Its emit had not returned: it is counted as torn, and nothing is said to be missing."""
    path = tmp_path / "runs.db"
    torn = dead_writer(path, in_memory=in_memory)[-1]
    begun = pack_record(event(COUNT + 1))[:50]
    content = torn.read_bytes()
    used = len(content.rstrip(b"\0"))
    torn.write_bytes(content[:used] + begun + content[used + len(begun) :])
    assert recovered(path) == (Recovery(1, COUNT, 1, 0), COUNT, 0)


def test_a_recovery_that_was_killed_while_it_removed_files(tmp_path: Path, in_memory: bool) -> None:
    """The next one finds fewer files than there were, and doesn't take that for damage."""
    path = tmp_path / "runs.db"
    dead_writer(path, in_memory=in_memory)
    mark = Path(f"{path}-journal.d/w.mark")
    kept = mark.read_bytes()
    with SQLiteStore(path) as store:
        assert recover(store).events == COUNT
        mark.parent.mkdir()
        # As it puts that down before it removes the first file.
        mark.write_bytes(kept[:56] + bytes(8) + kept[64:])
        # What lies in memory went with the first one: its words, and whatever else there was.
        assert recover(store) == Recovery(1, 0, 0, 0, is_estimate=in_memory)


def test_a_folder_that_somebody_removes_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """While it records: the mark is there again with what it said, and so are arenas, for the events from then on.

    Copies in memory are found from there, too; on the disk they went with the folder.
    """
    monkeypatch.setattr("sonde.journal.journal._LOOK_EVERY_S", 0.0)
    monkeypatch.setattr("sonde.journal.upkeep._INSPECT_EVERY_S", 0.0)
    path = tmp_path / "runs.db"
    folder = Path(f"{path}-journal.d")
    journal = full_journal(path, in_memory=in_memory)
    inbox = journal.begin("w")
    journal.open()
    for seq in range(1, 11):
        inbox.append(event(seq))
    journal.claimed(10)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()

    journal.tidy(Stuck, accounted=0)
    assert journal.unjournaled == (0 if in_memory else 10)
    assert journal.failures.counts["journal"] == 1
    for seq in range(11, 21):
        inbox.append(event(seq))
    journal.claimed(20)
    assert [each.seq for each in inbox] == list(range(1, 21))
    journal.begin("")  # as a kill would have it: all is let go
    found, there, missed = recovered(path)
    assert (there, missed, found.torn) == ((20, 0, 0) if in_memory else (10, 10, 0))


def test_memory_that_somebody_clears_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal_files: Callable[[Path], list[Path]]
) -> None:
    """While it records, as some systems do at a logout: what waited there is counted, what comes has copies again."""
    monkeypatch.setattr("sonde.journal.journal._LOOK_EVERY_S", 0.0)
    monkeypatch.setattr("sonde.journal.upkeep._INSPECT_EVERY_S", 0.0)
    path = tmp_path / "runs.db"
    journal = full_journal(path)
    inbox = journal.begin("w")
    journal.open()
    for seq in range(1, 11):
        inbox.append(event(seq))
    for file in journal_files(path):
        if file.suffix != ".mark":
            file.unlink()
    journal.tidy(Stuck, accounted=0)
    assert journal.unjournaled == 10
    for seq in range(11, 21):
        inbox.append(event(seq))
    journal.claimed(20)
    journal.begin("")
    found, there, missed = recovered(path)
    assert (there, missed, found.torn) == (10, 10, 0)


def test_what_others_put_into_memory_is_not_taken_in(
    tmp_path: Path, journal_files: Callable[[Path], list[Path]]
) -> None:
    """Anybody may make files there: an arena of another user is no writer's, and a link is followed nowhere."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    path = tmp_path / "runs.db"
    own = dead_writer(path, in_memory=True)
    forged = own[0].with_name(own[0].name.replace("-w.1.", "-w.99."))
    link = own[0].with_name(own[0].name.replace("-w.1.", "-w.98."))
    forged.write_bytes((HEADER.pack(0, 0) + pack_record(event(COUNT + 1))).ljust(own[0].stat().st_size, b"\0"))
    os.chown(forged, 65534, 65534)
    link.symlink_to(forged)
    try:
        assert {forged, link} < set(journal_files(path))
        assert recovered(path) == (Recovery(1, COUNT, 0, 0), COUNT, 0)
        assert forged.exists()
    finally:
        forged.unlink()
        link.unlink()


CHANGED_USER = """
import os, sys, apsw, sonde
rec = sonde.record(sys.argv[1], session_id="s", durability="emit", memory_interval_s=None)
assert rec.flush()
other = apsw.Connection(sys.argv[1])
other.execute("BEGIN IMMEDIATE")
os.setuid(65534)
for i in range(5000):
    rec.emit("n", i=i, text="x" * 100)
os.write(1, b"%d" % rec.stats().unjournaled)
os.kill(os.getpid(), 9)
"""


def test_events_of_a_program_that_gave_up_its_rights_are_counted(tmp_path: Path) -> None:
    """Files that it makes then would be another user's, whom recovery does not believe: no emit promises too much."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", CHANGED_USER, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    _, there, missed = recovered(path)
    assert 0 < there < COUNT
    assert missed == COUNT - there == int(done.stdout)


def test_events_from_before_there_were_arenas_are_missing_after_a_kill(tmp_path: Path) -> None:
    """In a child another thread may publish while the files are made: without a copy, and that is on the mark."""
    path = tmp_path / "runs.db"
    journal = full_journal(path)
    inbox = journal.begin("w")
    opening, journal._opening = journal._opening, []  # a thread is about to open
    inbox.append(event(1))
    journal.waiting(9)
    journal._opening = opening
    inbox.append(event(2))
    assert journal.unjournaled == 1
    journal.begin("")
    found, there, missed = recovered(path)
    assert (there, missed, found.torn) == (1, 1, 0)


def test_a_folder_that_can_be_made_later_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in its way when recording begins may go: from then on there is a journal, and it knows how far."""
    monkeypatch.setattr("sonde.journal.journal._LOOK_EVERY_S", 0.0)
    path = tmp_path / "runs.db"
    folder = Path(f"{path}-journal.d")
    folder.write_text("in the way")
    journal = full_journal(path)
    inbox = journal.begin("w")
    journal.open()
    inbox.append(event(1))
    journal.claimed(1)
    journal.tidy(Stuck, accounted=0)
    folder.unlink()
    journal.tidy(Stuck, accounted=0)
    inbox.append(event(2))
    journal.claimed(2)
    assert [each.seq for each in inbox] == [1, 2]
    assert journal.unjournaled == 1
    journal.begin("")
    found, there, missed = recovered(path)
    assert (there, missed, found.torn) == (1, 1, 0)


FORK_MEANWHILE = """
import os, sys, time
from sonde.journal import left_behind
for remains in left_behind(sys.argv[1]):
    child = os.fork()
    if not child:
        time.sleep(100)
        os._exit(0)
try:
    assert len(list(left_behind(sys.argv[1]))) == 1
finally:
    os.kill(child, 9)
    os.waitpid(child, 0)
"""


def test_a_child_of_who_takes_it_in_does_not_hold_it_on(tmp_path: Path) -> None:
    """A lock goes along with a fork: whoever had it could die, and the dead writer would pass for alive."""
    dead_writer(tmp_path / "runs.db", in_memory=False)
    folder = f"{tmp_path / 'runs.db'}-journal.d"
    subprocess.run([sys.executable, "-c", FORK_MEANWHILE, folder], check=True, timeout=60)
