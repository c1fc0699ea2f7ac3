"""Power loss, simulated: cuts at random moments of real recording, on a disk that loses what was not synced.

What the disk does and does not do, :mod:`disk_of_memory` says. A round is one agent at work; each of its cuts is a
state in which the files could be found, which the real sonde then opens, verifies, and goes on with. Rounds are known
by their seeds; threads make no two runs of a seed quite the same, so what fails keeps its files.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import apsw
import pytest

import sonde
from sonde.events import Event
from sonde.journal import folder_of
from sonde.journal.mark import WAITING, Mark, boot_id
from sonde.recorder import recover
from sonde.store import SQLiteStore
from sonde.store.retention import Retention

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, and the journal needs Linux")


def _part(name: str) -> ModuleType:
    # Not an import: tests are no package, and nothing is on the path for them.
    spec = importlib.util.spec_from_file_location(f"power_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


platters = _part("platter")  # the disk needs it
memory = _part("disk_of_memory")
agents = _part("agent")
inspection = _part("inspection")

CUTS = 15
ROUNDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 20))]  # 20 × 15 are 300 cuts


class Round(NamedTuple):
    """An agent that has done its work."""

    disk: Any
    ledger: Any
    rng: random.Random
    folder: Path

    def moment(self) -> int:
        """A random time; often one at which something has just been acknowledged, when most can be lost."""
        if self.rng.random() < 0.4:
            return int(self.rng.choice(self.ledger.acknowledged_at()))
        return self.rng.randint(0, self.disk.now)

    @contextmanager
    def cut(self, at: int) -> Iterator[tuple[Path, Any]]:
        """The store as it can be found when the power goes at a time, and the moment that its journal is of."""
        root = self.folder / f"cut at {at}"
        inspection.lay_out(self.disk.cut(at, self.rng), root, self.rng)
        db = root / agents.DB
        yield db, inspection.lay_out_leavings(self.ledger, at, db, self.rng)
        shutil.rmtree(root)  # unless something failed


def worked(folder: Path, durability: str, seed: int, *, honest: bool = True, steps: int = 40) -> Round:
    """Let an agent work on a disk of its own."""
    rng = random.Random(f"{durability} {seed}")
    (folder / "live").mkdir()
    disk = memory.Disk(folder / "live", honest=honest)
    arenas = durability == "emit"
    ledger = agents.Agent(disk, durability=durability, rng=rng, steps=steps, arenas=arenas).work()
    return Round(disk, ledger, rng, folder)


def survey(one: Round, at: int, *, synced: bool) -> Any:
    """Cut, open, verify, compare, go on. What had been acknowledged and is lost; none of it where it was ``synced``."""
    with one.cut(at) as (db, leavings):
        found = inspection.inspect(db, mode=one.rng.choice(["create", "ro"]))
        inspection.check_prefix(found, one.ledger, at, agents.data_of)
        certain = at if synced else one.disk.synced_at("-wal", at)
        assert inspection.loss(found, one.ledger, certain) == inspection.Loss()
        after = inspection.go_on(db, found)
        inspection.check_gap(after, one.ledger, leavings, db)
        return inspection.loss(found, one.ledger, at)


@pytest.mark.parametrize("seed", ROUNDS)
def test_power_keeps_what_was_acknowledged(tmp_path: Path, seed: int, fault_report: Any) -> None:
    """With ``power`` a cut at any moment takes nothing that was acknowledged, and damages nothing."""
    one = worked(tmp_path, "power", seed)
    for _ in range(CUTS):
        assert survey(one, one.moment(), synced=True) == inspection.Loss()
    fault_report(
        fault="power cut while recording with durability power",
        promised="what was acknowledged is there; the file is whole, its versions have no hole, and recording goes on",
        seen={"cuts": CUTS, "acknowledged events lost": 0, "damaged files": 0},
    )


def seen_of(losses: list[inspection.Loss]) -> dict[str, int]:
    """What cuts took that may take the last commits: for the report."""
    return {
        "cuts": len(losses),
        "damaged files": 0,
        "took acknowledged events": sum(1 for lost in losses if lost.events),
        "most commits taken by one: {}": max(lost.commits for lost in losses),
    }


@pytest.mark.parametrize("seed", ROUNDS)
def test_commit_loses_a_tail_at_most(tmp_path: Path, seed: int, fault_report: Any) -> None:
    """With ``commit`` a cut takes the last commits, which were not synced, from none in the middle; the gap says so."""
    one = worked(tmp_path, "commit", seed)
    losses = [survey(one, one.moment(), synced=False) for _ in range(CUTS)]
    fault_report(
        fault="power cut while recording with durability commit",
        promised="the file is whole; what is missing are the last commits, all behind the last sync of SQLite's log, "
        "and where the recorder's mark survives a gap says how many it knew of",
        seen=seen_of(losses),
    )


@pytest.mark.parametrize("seed", ROUNDS)
def test_emit_loses_a_tail_at_most(tmp_path: Path, seed: int, fault_report: Any) -> None:
    """With ``emit`` it is as with ``commit``, whatever state the arenas are in: no event twice, the rest is counted."""
    one = worked(tmp_path, "emit", seed)
    losses = [survey(one, one.moment(), synced=False) for _ in range(CUTS)]
    fault_report(
        fault="power cut while recording with durability emit",
        promised="the file is whole; what is missing are the last commits; of the journal, whatever state it is found "
        "in, nothing is taken in twice, and where the recorder's mark survives a gap says how many it knew of",
        seen=seen_of(losses),
    )


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_cut_while_the_file_is_made_or_closed(tmp_path: Path, seed: int, fault_report: Any) -> None:
    """While the file is made, and while its log is written back and removed, a cut harms as little as at any time."""
    durability = ("power", "commit")[seed % 2]
    one = worked(tmp_path, durability, seed, steps=5)
    for number in range(CUTS):
        bounds = (0, one.ledger.opened_at) if number % 2 else (one.ledger.closing_at, one.disk.now)
        survey(one, one.rng.randint(*bounds), synced=durability == "power")
    fault_report(
        fault="power cut while a store is made or closed",
        promised="the file is whole, or not there yet, and recording goes on; with durability power nothing that was "
        "acknowledged is lost",
        seen={"cuts": CUTS, "acknowledged events lost at power": 0, "damaged files": 0},
    )


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_second_cut_during_recovery(tmp_path: Path, seed: int, fault_report: Any) -> None:
    """What was there after a cut is there after another, while sonde recovers and goes on; no event is there twice."""
    durability = ("power", "commit", "emit")[seed % 3]
    first = worked(tmp_path, durability, seed, steps=20)
    cuts = 5
    for number in range(cuts):
        root, kept = tmp_path / f"first {number}", tmp_path / f"kept {number}"
        at = first.moment()
        inspection.lay_out(first.disk.cut(at, first.rng), root, first.rng)
        inspection.lay_out_leavings(first.ledger, at, root / agents.DB, first.rng)
        shutil.copytree(root, kept)
        before = inspection.inspect(kept / agents.DB)
        disk = memory.Disk(root)
        ledger = agents.record_on(disk, durability=durability, rng=first.rng)
        second = Round(disk, ledger, first.rng, tmp_path)
        for _ in range(CUTS // cuts):
            with second.cut(at := second.rng.randint(0, disk.now)) as (db, _):
                found = inspection.inspect(db)
                assert found.events[: len(before.events)] == before.events
                acknowledged = max((number for when, number in ledger.flushed if when <= at), default=0)
                numbers = [event.data["i"] for event in found.events if event.type == "again"]
                assert numbers == list(range(len(numbers)))
                assert durability != "power" or len(numbers) >= acknowledged
                inspection.go_on(db, found)
        shutil.rmtree(root)
        shutil.rmtree(kept)
    fault_report(
        fault="a second power cut, while sonde recovers from the first",
        promised="what the first one left is there; no event twice",
        seen={"second cuts": cuts * (CUTS // cuts), "events lost that the first had left": 0, "damaged files": 0},
    )


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_cut_while_retention_removes(tmp_path: Path, seed: int, fault_report: Any) -> None:
    """A cut amid a prune leaves whole what is to stay, of the rest a suffix each; the next prune does what is left."""
    rng = random.Random(seed)
    (tmp_path / "live").mkdir()
    disk = memory.Disk(tmp_path / "live")
    going = ("s0", "s2", "s3")
    with disk.attached(autocheckpoint_pages=rng.choice([4, 200])):
        store = SQLiteStore(tmp_path / "live" / "runs.db", durability="power")
        for number in range(120):
            data = agents.data_of("first", number)
            store.append(f"s{number % 5}", [Event("n", data=data), Event("n", data={"n": number})])
            if rng.random() < 0.05:
                store.tend(is_ending=True)
        before = {f"s{number}": list(store.read(f"s{number}")) for number in range(5)}
        began_at = disk.now
        store.prune(Retention(), sessions=going)
        ended_at = disk.now
        store.close()
    for _ in range(CUTS):
        root, at = tmp_path / "cut", rng.randint(began_at, disk.now)
        inspection.lay_out(disk.cut(at, rng), root, rng)
        found = inspection.inspect(root / "runs.db")
        for name, events in before.items():
            there = [event for event in found.events if event.stream_id == name]
            assert there == events if name not in going else there == events[len(events) - len(there) :]
            assert not (there and name in going and at >= ended_at)
        with SQLiteStore(root / "runs.db") as store:
            store.prune(Retention(), sessions=going)
            assert not list(store.verify())
            assert {event.stream_id for event in store.read_all()} - {"sonde.retention"} == {"s1", "s4"}
            assert store.removed() == (sum(len(before[name]) for name in going), len(going))
        shutil.rmtree(root)
    fault_report(
        fault="power cut while retention removes sessions, with durability power",
        promised="sessions that stay are whole, of those that go a suffix is there at most; what is gone stays gone, "
        "the next prune removes the rest, and the count of what was removed is exact",
        seen={"cuts": CUTS, "events lost that were to stay": 0, "damaged files": 0},
    )


# --- the disk itself: a simulation that finds no fault proves nothing ------------------------------------------------


def test_a_disk_that_lies_about_syncs_is_found_out(tmp_path: Path) -> None:
    """On a disk that does not sync, cuts damage files and take what was acknowledged: the inspection sees both."""
    one = worked(tmp_path, "power", 0, honest=False)
    damaged = lost = 0
    for _ in range(40):
        root = tmp_path / "cut"
        at = one.moment()
        inspection.lay_out(one.disk.cut(at, one.rng), root, one.rng)
        try:
            found = inspection.inspect(root / agents.DB)
            inspection.check_prefix(found, one.ledger, at, agents.data_of)
        except (sonde.StoreError, AssertionError):
            damaged += 1
        else:
            lost += inspection.loss(found, one.ledger, at).events > 0
        shutil.rmtree(root)
    assert damaged
    assert lost


def test_without_a_sync_for_each_commit_the_loss_is_found(tmp_path: Path) -> None:
    """What ``commit`` records would not pass for ``power``: the test of that promise can fail."""
    one = worked(tmp_path, "commit", 0)
    lost = 0
    for at in sorted(one.ledger.acknowledged_at())[::2]:
        with one.cut(at) as (db, _):
            lost += inspection.loss(inspection.inspect(db), one.ledger, at).events > 0
    assert lost


def test_the_disk_has_what_the_files_have(tmp_path: Path) -> None:
    """When everything gets through, what is found is to the byte what SQLite wrote: no write escapes the log."""
    disk = memory.Disk(tmp_path)
    with disk.attached(autocheckpoint_pages=5):
        store = SQLiteStore(tmp_path / "made" / "runs.db")
        for number in range(20):
            store.append("s", [Event("n", data={"n": number, "text": "x" * 2000 * (number % 3)})] * 3)
        platter = platters.Platter({}, disk.log)
        found = platter.found(random.Random(0), platters.Mood(passing=1.0, naming=1.0))
        assert sorted(found) == ["made", "made/runs.db", "made/runs.db-wal"]
        for path in ("made/runs.db", "made/runs.db-wal"):
            assert found[path] == (tmp_path / path).read_bytes()
        store.close()
    assert apsw.vfs_names()[0] != memory.NAME


def test_what_is_synced_stays_and_the_rest_may_be_anything() -> None:
    """Synced sectors and names are there after each cut; others are old, new, torn or garbage, in any combination."""
    old, new = b"a" * 512, b"b" * 512
    log = [
        platters.Name("f", 0),
        platters.SyncFolder("", 1),
        platters.Write(0, 0, old * 3),
        platters.Sync(0, 3),
        platters.Write(0, 512, new * 3),  # over two old sectors, and a third behind the end
        platters.Name("g", 1),
        platters.Name("f", None),
    ]
    contents, names = set(), set()
    for seed in range(500):
        rng = random.Random(seed)
        found = platters.Platter({}, log).found(rng, platters.Mood.of(rng))
        names.add(tuple(found))
        if (content := found.get("f")) is not None:
            assert content[:512] == old
            assert len(content) in (1536, 2048)
            contents.add(content)
    assert names == {("f",), ("f", "g"), ("g",), ()}
    assert {old * 3, old + new * 3, old + old + new, old + new + old} <= contents
    torn = [content for content in contents if content[512:1024] not in (old, new)]
    assert any(set(content[512:1024]) == {ord("a"), ord("b")} for content in torn)
    assert any(len(set(content[512:1024])) > 20 for content in torn)


# --- what the simulation has found, each by itself -------------------------------------------------------------------


def test_a_file_torn_in_a_checkpoint_is_restored_from_its_log(tmp_path: Path) -> None:
    """Power went while the log was written back: the file's first page is garbage, the log is whole, all is there."""
    path = tmp_path / "runs.db"
    with SQLiteStore(path) as store:
        store.append("s", [Event("n", data={"n": number}) for number in range(50)])
        log = Path(f"{path}-wal").read_bytes()
    content = path.read_bytes()
    for mode in ("create", "ro"):
        for first_page in (bytes(4096), random.Random(0).randbytes(4096)):
            path.write_bytes(first_page + content[4096:8192])  # and it is shorter than it says
            Path(f"{path}-wal").write_bytes(log)
            assert [event.data["n"] for event in inspection.inspect(path, mode=mode).events] == list(range(50))
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs.db"]


@pytest.mark.parametrize("step", [113, pytest.param(1, marks=pytest.mark.long)])
def test_a_first_page_torn_at_any_byte_is_restored_from_its_log(tmp_path: Path, step: int) -> None:
    """Power went while the new file's first page was written back: what it looks like then decides nothing."""
    path = tmp_path / "runs.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    old = path.read_bytes()[:4096]
    with SQLiteStore(path) as store:
        store.append("s", [Event("n")])
        log = Path(f"{path}-wal").read_bytes()
    new = path.read_bytes()
    for torn_at in (*range(128), *range(128, 4096, step)):
        for mode, page in (("create", new[:torn_at] + old[torn_at:]), ("ro", old[:torn_at] + new[torn_at:4096])):
            path.write_bytes(page + new[4096:])
            Path(f"{path}-wal").write_bytes(log)
            assert len(inspection.inspect(path, mode=mode).events) == 1, (torn_at, mode)
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs.db"]


def test_a_file_torn_while_it_was_made_is_made_again(tmp_path: Path) -> None:
    """Power went between the first write to a new file and its sync: the journal rolls it back, and it can be used."""
    disk = memory.Disk(tmp_path / "live")
    (tmp_path / "live").mkdir()
    with disk.attached():
        SQLiteStore(tmp_path / "live" / "runs.db").close()
    at = next(
        number for number, entry in enumerate(disk.log, 1) if isinstance(entry, platters.Write) and entry.file == 0
    )
    found = platters.Platter({}, disk.log[:at]).found(random.Random(0), platters.Mood(passing=0.0, naming=0.0))
    assert found["runs.db"] == b""
    for torn in (bytes(4096), random.Random(0).randbytes(4096)):
        inspection.lay_out({**found, "runs.db": torn}, tmp_path / "found", random.Random(0))
        with SQLiteStore(tmp_path / "found" / "runs.db") as store:
            store.append("s", [Event("n")])
            assert not list(store.verify())
        shutil.rmtree(tmp_path / "found")


def test_folders_made_for_a_store_have_their_names_on_the_disk(tmp_path: Path) -> None:
    """With ``power`` a new file in new folders is found after a cut at which nothing gets through that isn't synced."""
    disk = memory.Disk(tmp_path)
    with disk.attached(), SQLiteStore(tmp_path / "a" / "b" / "runs.db", durability="power") as store:
        store.append("s", [Event("n")])
        found = platters.Platter({}, disk.log).found(random.Random(0), platters.Mood(passing=0.0, naming=0.0))
    inspection.lay_out(found, tmp_path / "found", random.Random(0))
    assert len(inspection.inspect(tmp_path / "found" / "a" / "b" / "runs.db").events) == 1


def test_a_journal_of_another_boot_does_not_bound_what_is_missing(tmp_path: Path) -> None:
    """After a kill whole arenas hold all that waited; after a power cut they may be of an earlier time."""
    path = tmp_path / "runs.db"
    missed = []
    for boot in (boot_id(), "0" * len(boot_id())):
        mark = Mark(folder_of(str(path)), boot, session_id="s", durability="emit", has_arenas=True)
        mark.words[WAITING] = 101
        mark.copy()
        mark.forget()
        left = Path(mark.path)
        left.write_bytes(left.read_bytes().replace(boot_id().encode(), boot.encode()))
        with SQLiteStore(path) as store:
            missed.append(recover(store).missed)
    assert missed == [0, 100]
