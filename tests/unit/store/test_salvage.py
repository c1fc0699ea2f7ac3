"""Salvage: of a damaged file everything that can be read comes into the new one, and nothing that wasn't written."""

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from sonde.errors import StoreError, StoreFormatError, StoreNotFoundError, StoreSchemaError
from sonde.events import Event, RecordedEvent
from sonde.store import Record, SQLiteStore
from sonde.store.connections import transaction
from sonde.store.losses import merged, size, without
from sonde.store.salvage import Salvage, salvage
from sonde.store.sealing import seal_some

PAGE = 4096
EVENTS = 300
Ledger = dict[tuple[str, int], tuple[str, Event]]


def record(store: SQLiteStore, rng: random.Random, *, prefix: str = "w") -> Ledger:
    """Record events of four sessions by three writers, with data of all sizes; what was acknowledged."""
    ledger: Ledger = {}
    seqs = dict.fromkeys((f"{prefix}1", f"{prefix}2", f"{prefix}3"), 0)
    common = "".join(rng.choices("abcdefgh ", k=3_000))
    while len(ledger) < EVENTS:
        batch: list[Record] = []
        for _ in range(rng.randint(1, 40)):
            writer, stream = f"{prefix}{rng.randint(1, 3)}", f"s{rng.randint(1, 4)}"
            seqs[writer] += 1
            size = rng.choice([0, 20, 100, 400, 900, 3_000])
            text = common[:size] if rng.random() < 0.5 else "".join(rng.choices("abcdefghijklmnop", k=size))
            event = Event(
                f"tool.{rng.randint(1, 5)}",
                10**18 + len(ledger) + len(batch),
                session_id=stream,
                plan_id=rng.choice(["", "p"]),
                data={"text": text, "number": len(ledger)} if size else {},
                trace_id=f"{rng.getrandbits(128):032x}",
                span_id=f"{rng.getrandbits(64):016x}",
            )
            batch.append(Record(stream, writer, seqs[writer], event))
            ledger[writer, seqs[writer]] = (stream, event)
        store.append_batch(batch)
    return ledger


class Sample(NamedTuple):
    """A store as bytes, and what is in it."""

    content: bytes
    log: bytes
    ledger: Ledger


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A store that was closed in order."""
    path = tmp_path_factory.mktemp("plain") / "a.db"
    with SQLiteStore(path) as store:
        ledger = record(store, random.Random(1))
    return Sample(path.read_bytes(), b"", ledger)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A store most of whose events are sealed."""
    path = tmp_path_factory.mktemp("sealed") / "a.db"
    with SQLiteStore(path) as store:
        ledger = record(store, random.Random(2))
    connection = apsw.Connection(str(path))
    with transaction(connection):
        assert seal_some(connection, least=EVENTS)
    connection.close()
    with SQLiteStore(path) as store:
        ledger |= record(store, random.Random(4), prefix="v")
    return Sample(path.read_bytes(), b"", ledger)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A store whose events are in the log, as a kill leaves it."""
    path = tmp_path_factory.mktemp("killed") / "a.db"
    with SQLiteStore(path) as store:
        ledger = record(store, random.Random(3))
        return Sample(path.read_bytes(), Path(f"{path}-wal").read_bytes(), ledger)


class Repair:
    """A damaged file, and what became of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "damaged.db"
        self.output = folder / "new.db"

    def __call__(self, sample: Sample, content: bytes | None = None, log: bytes | None = None) -> Salvage:
        """Write the damaged file, salvage it, and check what must hold for any damage."""
        content = sample.content if content is None else content
        log = sample.log if log is None else log
        self.path.write_bytes(content)
        beside = Path(f"{self.path}-wal")
        beside.unlink(missing_ok=True)
        if log:
            beside.write_bytes(log)
        for suffix in (".db", ".db-wal", ".db-shm", ".lost.jsonl"):
            self.output.with_suffix(suffix).unlink(missing_ok=True)
        before = digests(self.path.parent)
        found = salvage(self.path, self.output)
        assert {name: before.get(name) for name in before} == {
            name: digest for name, digest in digests(self.path.parent).items() if name in before
        }
        self.check(sample, found)
        return found

    def check(self, sample: Sample, found: Salvage) -> None:
        """Everything kept is what was written; the ledger's rest is what is reported; the new file is sound."""
        with SQLiteStore(self.output, mode="ro") as store:
            assert list(store.verify()) == []
            events = list(store.read_all())
        kept = {(event.writer_id, event.seq): event for event in events if not event.writer_id.startswith("repair-")}
        gaps = [event for event in events if event.writer_id.startswith("repair-")]
        assert len(kept) + len(gaps) == len(events)
        assert found.kept == len(kept)
        assert found.lost == sum(event.data["missed"] for event in gaps)
        for identity, event in kept.items():
            stream, written = sample.ledger[identity]
            assert event.stream_id == stream or event.stream_id in found.invented_streams
            assert plain_event(event) == written
        lost = {(w, seq) for w, ranges in found.lost_numbers.items() for a, b in ranges for seq in range(a, b + 1)}
        assert not lost & set(kept)
        if found.is_exact:
            assert set(kept) | lost == set(sample.ledger)
            assert found.kept + found.lost == len(sample.ledger)


def plain_event(event: RecordedEvent) -> Event:
    return Event(
        event.type, event.time_ns, event.session_id, event.plan_id, event.task_id, event.data, event.trace_id,
        event.span_id, event.parent_id,
    )  # fmt: skip


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
        if file.is_file()
    }


@pytest.fixture
def repair(tmp_path: Path) -> Repair:
    return Repair(tmp_path)


def with_page(content: bytes, page: int, image: bytes = bytes(PAGE)) -> bytes:
    return content[: (page - 1) * PAGE] + image + content[page * PAGE :]


def with_bit(content: bytes, at: int, bit: int = 0) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def pages_of(path: Path, name: str, kind: str = "leaf") -> list[int]:
    """The pages of a table or an index."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ?", (name, kind)).fetchall()
    finally:
        connection.close()
    return [int(page) for (page,) in rows]  # type: ignore[arg-type]  # a number of a page


@pytest.fixture
def where(tmp_path: Path) -> Callable[..., list[int]]:
    """Which pages of a sample hold what."""

    def find(sample: Sample, name: str, kind: str = "leaf") -> list[int]:
        path = tmp_path / "look" / "a.db"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sample.content)
        return pages_of(path, name, kind)

    return find


# --- any damage -------------------------------------------------------------------------------------------------------


def harm(rng: random.Random, content: bytes, kind: str) -> bytes:
    """Damage of a kind, somewhere."""
    changed = bytearray(content)
    pages = len(content) // PAGE
    if kind in ("bit", "bits", "header"):
        end = 100 if kind == "header" else len(content)
        for _ in range(1 if kind == "bit" else rng.randint(2, 30)):
            changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    elif kind in ("root", "schema"):
        start = 100 if kind == "schema" else rng.randrange(min(30, pages)) * PAGE
        for _ in range(rng.randint(1, 30)):
            changed[start + rng.randrange(PAGE - 100)] = rng.randrange(256)
    elif kind in ("zero page", "garbage page"):
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(pages) * PAGE
            changed[start : start + PAGE] = bytes(PAGE) if kind == "zero page" else rng.randbytes(PAGE)
    elif kind == "cut":
        del changed[rng.randrange(30 * PAGE, len(content)) :]
    elif kind == "garbage behind":
        changed += rng.randbytes(rng.randint(1, 3 * PAGE))
    elif kind == "garbage":
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.randint(1, 5 * PAGE))
        changed[start:end] = rng.randbytes(end - start)
    return bytes(changed)


KINDS = ("bit", "bits", "header", "root", "schema", "zero page", "garbage page", "cut", "garbage behind", "garbage")


@pytest.mark.parametrize("seed", [*range(10), 241, 319])
def test_any_damage(repair: Repair, plain: Sample, sealed: Sample, seed: int) -> None:
    """What is kept is what was written, what is lost is reported, the damaged file is as it was."""
    rng = random.Random(seed)
    sample = rng.choice([plain, sealed])
    repair(sample, harm(rng, sample.content, KINDS[seed % len(KINDS)]))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 400))
def test_any_damage_long(repair: Repair, plain: Sample, sealed: Sample, seed: int) -> None:
    """The same, three hundred times."""
    rng = random.Random(seed)
    sample = rng.choice([plain, sealed])
    repair(sample, harm(rng, sample.content, KINDS[seed % len(KINDS)]))


LOG_KINDS = ("bit", "bits", "header", "frame", "nothing")


def harm_log(rng: random.Random, log: bytes, kind: str) -> bytes:
    changed = bytearray(log)
    step = PAGE + 24
    if kind == "frame":
        at = 32 + step * rng.randrange(len(log) // step)
        changed[at : at + step] = bytes(step)
    elif kind != "nothing":
        for _ in range(1 if kind == "bit" else rng.randint(2, 20)):
            changed[rng.randrange(32 if kind == "header" else len(log))] ^= 1 << rng.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(5))
def test_any_damage_to_the_log(repair: Repair, killed: Sample, seed: int) -> None:
    """A frame that isn't what was written costs what only it had, not the commits behind it."""
    rng = random.Random(seed)
    repair(killed, log=harm_log(rng, killed.log, LOG_KINDS[seed % len(LOG_KINDS)]))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 200))
def test_any_damage_to_the_log_long(repair: Repair, killed: Sample, seed: int) -> None:
    """The same, a hundred times."""
    rng = random.Random(seed)
    repair(killed, log=harm_log(rng, killed.log, LOG_KINDS[seed % len(LOG_KINDS)]))


# --- damage that costs nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "sealed", "killed"])
def test_a_sound_file_is_copied(repair: Repair, request: pytest.FixtureRequest, name: str) -> None:
    """Nothing is lost, and every event has its version and its position, as before."""
    sample = request.getfixturevalue(name)
    found = repair(sample)
    assert (found.lost, found.is_exact, found.quarantine, found.unreadable_pages) == (0, True, "", [])
    with SQLiteStore(repair.output, mode="ro") as new, SQLiteStore(repair.path, mode="ro") as old:
        assert list(new.read_all()) == list(old.read_all())
        assert new.streams() == old.streams()
        assert [new.seen(writer) for writer in ("w1", "w2", "w3")] == [old.seen(w) for w in ("w1", "w2", "w3")]


@pytest.mark.parametrize(
    "name",
    ["events", "names", "streams", "origins", "seen", "sqlite_autoindex_events_1", "sqlite_autoindex_names_1", "pieces",
     "uses", "retention", "sqlite_autoindex_streams_1", "sqlite_autoindex_origins_1"],
)  # fmt: skip
def test_what_can_be_had_otherwise_costs_nothing(
    repair: Repair, plain: Sample, where: Callable[..., list[int]], name: str
) -> None:
    """The top page of any tree can be lost: leaves are found without it, names are kept twice, the rest is counted."""
    nodes = where(plain, name, "internal") or (where(plain, name) if name != "events" else [])
    assert nodes
    assert repair(plain, with_page(plain.content, nodes[0])).lost == 0


def test_the_first_page_costs_nothing(repair: Repair, plain: Sample) -> None:
    """Header and schema are the same in every file."""
    assert repair(plain, with_page(plain.content, 1)).lost == 0


def test_garbage_behind_the_end_costs_nothing(repair: Repair, plain: Sample) -> None:
    """Not even if it looks like events: their names are others'."""
    assert repair(plain, plain.content + random.Random(1).randbytes(3 * PAGE)).lost == 0


def test_the_header_of_the_log_costs_nothing(repair: Repair, killed: Sample) -> None:
    """SQLite would drop the whole log."""
    assert repair(killed, log=bytes(32) + killed.log[32:]).lost == 0


# --- what is lost, and how it is told ---------------------------------------------------------------------------------


def test_a_lost_page_is_told_by_stream_and_version(
    repair: Repair, plain: Sample, where: Callable[..., list[int]]
) -> None:
    """Each hole has a gap at its last version, which says which versions it stands for."""
    page = where(plain, "events")[2]
    found = repair(plain, with_page(plain.content, page))
    assert found.lost > 10
    assert found.is_exact
    with SQLiteStore(repair.output) as store:
        for stream, ranges in found.lost_versions.items():
            gaps = list(store.read_by_type(stream, "sonde.gap"))
            assert [[gap.data["first_version"], gap.data["last_version"]] for gap in gaps] == [list(r) for r in ranges]
            assert [gap.version for gap in gaps] == [last for _, last in ranges]
            assert all(gap.data["reasons"] == {"damaged": gap.data["missed"]} for gap in gaps)
            versions = [event.version for event in store.read(stream)]
            assert versions == sorted(versions)
        positions = [event.position for event in store.read_all()]
        assert positions == sorted(set(positions))


def test_the_first_versions_can_be_lost(repair: Repair, plain: Sample, where: Callable[..., list[int]]) -> None:
    """A stream then begins with its gap."""
    found = repair(plain, with_page(plain.content, where(plain, "events")[0]))
    with SQLiteStore(repair.output) as store:
        first = {info.stream_id: info.first_version for info in store.streams()}
        for stream, ranges in found.lost_versions.items():
            assert ranges[0][0] == 1
            assert first[stream] == ranges[0][1]
            assert next(iter(store.read(stream))).type == "sonde.gap"


def test_lost_versions_at_the_end_are_not_given_again(
    repair: Repair, plain: Sample, where: Callable[..., list[int]]
) -> None:
    """The next event of a stream comes behind what was lost."""
    with_heads = repair(plain)
    with SQLiteStore(repair.output, mode="ro") as store:
        heads = {info.stream_id: info.last_version for info in store.streams()}
        last = max(event.position for event in store.read_all())
    assert with_heads.lost == 0
    found = repair(plain, with_page(plain.content, where(plain, "events")[-1]))
    assert found.lost
    with SQLiteStore(repair.output) as store:
        for stream in found.lost_versions:
            result = store.append(stream, [Event("later")])
            assert result.first_version > heads[stream]
            assert result.position > last


def test_a_backup_fills_the_holes(repair: Repair, plain: Sample, where: Callable[..., list[int]]) -> None:
    """The new file doesn't know the lost events, so they can be added, and only they."""
    found = repair(plain, with_page(plain.content, where(plain, "events")[3]))
    with SQLiteStore(repair.output) as store:
        records = [Record(stream, writer, seq, event) for (writer, seq), (stream, event) in plain.ledger.items()]
        assert store.append_batch(records).duplicates == found.kept
        events = {(event.writer_id, event.seq) for event in store.read_all()}
        assert set(plain.ledger) <= events


def test_a_flipped_bit_in_an_event(repair: Repair, plain: Sample, where: Callable[..., list[int]]) -> None:
    """It is kept out, and what can be read of it is in a file that only its owner may read."""
    page = where(plain, "events")[1]
    image = plain.content[(page - 1) * PAGE : page * PAGE]
    at = image.rindex(b'"number":') + 9
    found = repair(plain, with_bit(plain.content, (page - 1) * PAGE + at))
    assert (found.lost, found.quarantined) == (1, 1)
    quarantine = Path(found.quarantine)
    assert quarantine == repair.output.with_suffix(".lost.jsonl")
    assert quarantine.stat().st_mode & 0o777 == 0o600
    (line,) = map(json.loads, quarantine.read_text().splitlines())
    ((stream, ((version, _),)),) = found.lost_versions.items()
    assert (line["stream_id"], line["version"]) == (stream, version)
    assert line["reason"] == "its checksum is wrong"
    assert line["type"].startswith("tool.")
    assert isinstance(line["data"]["number"], int)


def version_byte(image: bytes) -> int:
    """Where the last byte of the version of a leaf's first row is."""
    at = int.from_bytes(image[8:10], "big")
    for _ in "length", "row number":
        while image[at] & 0x80:
            at += 1
        at += 1
    _, stream, version = image[at + 1 : at + 4]  # kinds: none, and two small integers
    assert {stream, version} <= {1, 2, 8, 9}
    return at + image[at] + {1: 1, 2: 2}.get(stream, 0) + version - 1


def test_where_an_event_stands_is_checked_twice(repair: Repair, plain: Sample, where: Callable[..., list[int]]) -> None:
    """A bit in a row's version, which no checksum covers, is found by the index, and costs nothing."""
    start = (where(plain, "events")[1] - 1) * PAGE
    at = start + version_byte(plain.content[start : start + PAGE])
    for bit in (0, 2, 6):
        assert repair(plain, with_bit(plain.content, at, bit)).lost == 0


def test_a_damaged_block_costs_only_what_lies_behind(
    repair: Repair, plain: Sample, where: Callable[..., list[int]]
) -> None:
    """A bit that flips near the end of large data leaves the events whose data comes before it."""
    page = where(plain, "blocks", "overflow")[0]
    found = repair(plain, with_bit(plain.content, (page - 1) * PAGE + 3_000, 3))
    assert len(found.unreadable_blocks) == 1
    needing = sum(1 for _, event in plain.ledger.values() if len(event.data.get("text", "")) > 512)
    assert 0 < found.lost < needing


def test_sealed_events_that_cannot_be_read(repair: Repair, sealed: Sample, where: Callable[..., list[int]]) -> None:
    """Their stretch says which versions they were."""
    leaf = where(sealed, "stretches")[0]
    found = repair(sealed, with_bit(sealed.content, leaf * PAGE - 200))
    assert found.lost > 20
    assert found.is_exact


def test_a_stream_whose_name_is_lost(repair: Repair, plain: Sample, where: Callable[..., list[int]]) -> None:
    """With table and index gone, it is called by the session of its events."""
    content = with_page(plain.content, where(plain, "streams")[0])
    content = with_page(content, where(plain, "sqlite_autoindex_streams_1")[0])
    found = repair(plain, content)
    assert found.lost == 0
    assert sorted(found.invented_streams) == ["s1", "s2", "s3", "s4"]


def test_names_whose_pages_were_cut_off_are_read_where_they_first_stood(repair: Repair, tmp_path: Path) -> None:
    """Where later names made the tables outgrow their first page, a cut takes all names, and events are kept."""
    path = tmp_path / "late.db"
    ledger: Ledger = {}
    with SQLiteStore(path) as store:
        for n in range(600):
            is_late = n >= 300
            event = Event(
                "note.taken", n, session_id="s", task_id=f"{n:032x}" if is_late else "", data={"x": "a" * 400}
            )
            ledger["w", n + 1] = ("s", event)
            store.append_batch([Record("s", "w", n + 1, event)])
    content = path.read_bytes()
    cut = min(pages_of(path, "names") + pages_of(path, "origins")) - 1
    found = repair(Sample(content, b"", ledger), content[: cut * PAGE])
    assert found.kept > 250
    assert found.quarantined <= 1


def test_a_log_that_was_cut_off(repair: Repair, killed: Sample) -> None:
    """What its commits had up to there is kept; of those behind nothing is known."""
    path = repair.path
    path.write_bytes(killed.content)
    Path(f"{path}-wal").write_bytes(killed.log[: len(killed.log) // 2])
    found = salvage(path, repair.output)
    assert 0 < found.kept < len(killed.ledger)
    with SQLiteStore(repair.output, mode="ro") as store:
        assert list(store.verify()) == []
        positions = [event.position.value for event in store.read_all()]
    assert positions == list(range(1, found.kept + 1))


# --- what was removed stays removed -----------------------------------------------------------------------------------


def test_what_retention_removed_does_not_come_back(repair: Repair, tmp_path: Path) -> None:
    """Not from free pages, not from the log, and not by an import."""
    path = tmp_path / "pruned.db"
    with SQLiteStore(path) as store:
        ledger = record(store, random.Random(5))
        store.truncate("s1", 40)
        kept = list(store.read_all())
    sample = Sample(path.read_bytes(), b"", ledger)
    repair.path.write_bytes(sample.content)
    found = salvage(repair.path, repair.output)
    assert (found.kept, found.lost) == (len(kept), 0)
    with SQLiteStore(repair.output) as store:
        assert list(store.read_all()) == kept
        records = [Record(stream, writer, seq, event) for (writer, seq), (stream, event) in ledger.items()]
        before = {(event.writer_id, event.seq) for event in kept}
        first = {w: min(seq for writer, seq in before if writer == w) for w in ("w1", "w2", "w3")}
        gone = [record for record in records if record.seq < first[record.writer_id]]
        assert store.append_batch(gone).duplicates == len(gone)


def test_what_retention_removed_is_not_lost(repair: Repair, tmp_path: Path) -> None:
    """Where pages are damaged, too, only what was there counts as lost."""
    path = tmp_path / "pruned.db"
    with SQLiteStore(path) as store:
        record(store, random.Random(6))
        store.truncate("s1", 30)
        there = list(store.read_all())
    repair.path.write_bytes(with_page(path.read_bytes(), pages_of(path, "events")[-2]))
    found = salvage(repair.path, repair.output)
    assert 0 < found.lost == len(there) - found.kept
    assert (found.is_exact, found.lost_numbers) == (False, {})
    with SQLiteStore(repair.output, mode="ro") as store:
        kept = [event for event in store.read_all() if event.type != "sonde.gap"]
        assert [event for event in there if event in kept] == kept


def test_a_repaired_file_can_be_repaired(repair: Repair, plain: Sample, where: Callable[..., list[int]]) -> None:
    """What the first repair told is still told, and nothing more is lost."""
    first = repair(plain, with_page(plain.content, where(plain, "events")[3]))
    again = repair.output.with_name("again.db")
    second = salvage(repair.output, again)
    assert second.kept == first.kept + sum(map(len, first.lost_versions.values()))
    assert second.lost == first.lost - sum(map(len, first.lost_versions.values())) or second.lost == 0
    with SQLiteStore(again, mode="ro") as store:
        assert list(store.verify()) == []


# --- what is refused --------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_overwritten(repair: Repair, plain: Sample) -> None:
    """Neither the new file nor one that SQLite, or the quarantine, would use with it."""
    repair.path.write_bytes(plain.content)
    for name in ("new.db", "new.db-wal", "new.lost.jsonl"):
        taken = repair.output.with_name(name)
        taken.write_text("mine")
        with pytest.raises(StoreError, match="exists; name another output"):
            salvage(repair.path, repair.output)
        assert taken.read_text() == "mine"
        taken.unlink()
    assert [file.name for file in repair.path.parent.iterdir()] == ["damaged.db"]


def test_what_is_no_store(repair: Repair, tmp_path: Path) -> None:
    """A file without any event of sonde's is refused, and leaves nothing behind."""
    with pytest.raises(StoreNotFoundError, match="no such file"):
        salvage(tmp_path / "none.db", repair.output)
    connection = apsw.Connection(str(repair.path))
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StoreFormatError, match="no event of sonde's"):
        salvage(repair.path, repair.output)
    repair.path.write_bytes(random.Random(1).randbytes(20_000))
    with pytest.raises(StoreFormatError, match="no event of sonde's"):
        salvage(repair.path, repair.output)
    assert [file.name for file in repair.path.parent.iterdir()] == ["damaged.db"]


def test_another_release_s_file(repair: Repair, plain: Sample) -> None:
    """Another schema is told from a damaged number of ours by the statement that made the table of events."""
    newer = plain.content[:60] + (99).to_bytes(4, "big") + plain.content[64:]
    assert repair(plain, newer).lost == 0
    changed = newer.replace(b"checksum INTEGER NOT NULL", b"checksum INTEGER NOT NUL ", 1)
    repair.path.write_bytes(changed)
    repair.output.unlink()
    with pytest.raises(StoreSchemaError, match="schema 99"):
        salvage(repair.path, repair.output)


def test_a_file_that_this_process_has_open(repair: Repair, plain: Sample) -> None:
    """Reading it would drop the locks that SQLite holds on it."""
    repair.path.write_bytes(plain.content)
    with SQLiteStore(repair.path), pytest.raises(StoreError, match="has it open"):
        salvage(repair.path, repair.output)


def test_files_are_private(repair: Repair, plain: Sample) -> None:
    """The new file is its owner's alone, and the folder in which it was made is gone."""
    os.umask(os.umask(0o000))
    repair(plain)
    assert repair.output.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in repair.path.parent.iterdir() if file.is_dir()) == []


def test_progress_is_told(repair: Repair, plain: Sample) -> None:
    """Each kind of work says how much of it is done."""
    told: dict[str, int] = {}
    repair.path.write_bytes(plain.content)
    salvage(repair.path, repair.output, progress=lambda label, done, total: told.update({label: done - total}))
    assert set(told) >= {"reading pages", "copying"}
    assert told["reading pages"] == told["copying"] == 0


# --- ranges -----------------------------------------------------------------------------------------------------------


def test_ranges_are_subtracted() -> None:
    """As sets are, for any ranges."""
    rng = random.Random(7)
    for _ in range(500):
        one, two = ([(a, a + rng.randint(0, 5)) for a in rng.choices(range(30), k=rng.randint(0, 5))] for _ in "ab")
        numbers, others = ({n for first, last in ranges for n in range(first, last + 1)} for ranges in (one, two))
        left = without(one, two)
        assert {n for first, last in left for n in range(first, last + 1)} == numbers - others
        assert size(left) == len(numbers - others)
        assert size(merged(one)) == len(numbers)
