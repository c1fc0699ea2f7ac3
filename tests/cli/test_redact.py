"""``sonde redact``: a whole, checked copy without secrets, and an original that stays as it was."""

import json
import stat
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sonde.events import Event, RecordedEvent
from sonde.store import Record, SQLiteStore

TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
PASSWORD = "hunter" + "2"


def events_in(path: Path) -> list[RecordedEvent]:
    with closing(SQLiteStore(path, mode="ro")) as store:
        return list(store.read_all())


@pytest.fixture
def unredacted(db: Path) -> Path:
    """Two sessions of two writers, interleaved, with secrets as a direct append leaves them."""
    datas: list[dict[str, Any]] = [
        {"n": 0},
        {"password": PASSWORD, "again": {"password": PASSWORD}},
        {"stdout": f"cloning with {TOKEN}\n", "who": "EMP-123456"},
        {"stdout": "x" * 5_000, "badge": "EMP-654321", "customer_name": "Ann"},
        {"token": " the", "old": "[REDACTED:password]"},
    ]
    with closing(SQLiteStore(db)) as store:
        store.append_batch(
            [
                Record(f"s-{n % 2}", f"w-{n % 2}", n + 1, Event("tick", 10**18 + n, f"s-{n % 2}", data=data))
                for n, data in enumerate(datas)
            ]
        )
    return db


def test_the_copy_has_no_secret_and_all_the_rest(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """Identities, times, types and order stay; secrets go; what was clean is as it was."""
    out = tmp_path / "clean.db"
    ran = sonde("redact", "--all", "-o", out)
    assert (ran.code, ran.out) == (0, "")
    assert "copied 5 events of 2 sessions" in ran.err
    assert "2 × password" in ran.err
    assert "1 × github_token" in ran.err
    before, after = events_in(unredacted), events_in(out)
    kept = [(e.type, e.time_ns, e.session_id, e.stream_id, e.writer_id, e.seq) for e in before]
    assert [(e.type, e.time_ns, e.session_id, e.stream_id, e.writer_id, e.seq) for e in after] == kept
    assert [e.data for e in after if e.seq in (1, 4, 5)] == [e.data for e in before if e.seq in (1, 4, 5)]
    assert after[1].data == {"password": "[REDACTED:password]", "again": {"password": "[REDACTED:password]"}}
    raw = out.read_bytes()
    assert TOKEN.encode() not in raw
    assert PASSWORD.encode() not in raw


def test_the_copy_is_sound(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """Checksums are those of the new content; it is one private file, and a second import of it adds nothing."""
    out = tmp_path / "clean.db"
    sonde("redact", "--all", "-o", out)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".clean", "clean"))) == ["clean.db"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with closing(SQLiteStore(out)) as store:
        assert list(store.verify()) == []
    assert "0 imported, 5 already there" in sonde("import", out, "--db", unredacted).err


def test_the_original_stays_as_it_was(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """No byte of the store changes."""
    before = sha256(unredacted.read_bytes()).digest()
    sonde("redact", "--all", "-o", tmp_path / "clean.db", "--rule", "employee=EMP-[0-9]+")
    assert sha256(unredacted.read_bytes()).digest() == before


def test_one_session(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """A session by its id or its beginning; the others stay out."""
    out = tmp_path / "one.db"
    assert sonde("redact", "s-1", "--out", out).code == 0
    assert {event.stream_id for event in events_in(out)} == {"s-1"}


def test_rules_of_ones_own(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """--rule, --key, --text-bytes-max and --fingerprints do in a copy what they do in a recorder; --json counts it."""
    out = tmp_path / "clean.db"
    ran = sonde(
        "redact", "--all", "-o", out, "--json", "--fingerprints", "--text-bytes-max", 1_000,
        "--rule", "employee=EMP-[0-9]+", "--key", "=customerName", "--keep-key", "password",
    )  # fmt: skip
    (document,) = ran.documents
    assert document["replaced"] == {"employee": 2, "custom": 1, "github_token": 1}
    assert (document["events"], document["changed"], document["cut"]) == (5, 2, 1)
    assert document["size_bytes"] == out.stat().st_size
    data = events_in(out)[3].data
    assert data["customer_name"].startswith("[REDACTED:custom:")
    assert len(data["stdout"].encode()) <= 1_000
    assert data["$replaced"]["/stdout"].startswith("cut from 5000 bytes, blake2b-128 ")
    assert events_in(out)[1].data["password"] == PASSWORD


def test_a_key_makes_fingerprints_of_two_copies_equal(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """With a key of one's own a secret is marked alike in every copy; with random keys it isn't."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123\n")
    marks = []
    for number in range(3):
        options = ("--fingerprint-key-file", key) if number < 2 else ("--fingerprints",)
        sonde("redact", "--all", "-o", tmp_path / f"{number}.db", *options)
        marks.append(events_in(tmp_path / f"{number}.db")[1].data["password"])
    assert marks[0] == marks[1] != marks[2]


def test_a_key_file_that_is_not_there(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """Exit code 3, as for every file that is named and does not exist."""
    ran = sonde("redact", "--all", "--out", tmp_path / "clean.db", "--fingerprint-key-file", "/nowhere/key")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "cannot read the fingerprint key '/nowhere/key': no such file" in ran.err


def test_the_copy_is_named_as_in_other_commands(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """--output is -o, and so is --out."""
    for option in ("-o", "--output", "--out"):
        assert sonde("redact", "--all", option, tmp_path / f"{option}.db").code == 0


def test_a_folder_without_permission(open_folder: Path, sonde: Any, sample: Any) -> None:
    """A copy into a folder that may not be written is one line that names it as given, and exit code 2."""
    source = open_folder / "runs.db"
    sample.append(source, *sample.agent_run())
    source.chmod(0o644)
    with sample.as_nobody():
        ran = sonde("redact", "--all", "-o", open_folder / "copy.db", "--db", source)
    assert ran.code == 2
    assert f"cannot write a redacted copy to '{open_folder / 'copy.db'}': Permission denied; " in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_an_existing_file_is_never_replaced(unredacted: Path, sonde: Any, tmp_path: Path, suffix: str) -> None:
    """A file under the copy's name, or one that SQLite would read with it, is refused, the store itself included."""
    (tmp_path / f"there.db{suffix}").write_text("precious")
    ran = sonde("redact", "--all", "-o", tmp_path / "there.db")
    assert (ran.code, (tmp_path / f"there.db{suffix}").read_text()) == (2, "precious")
    assert "exists; name another file" in ran.err
    assert sonde("redact", "--all", "-o", unredacted).code == 2
    assert sonde("redact", "--all", "-o", f"{unredacted}-wal").code == 2
    assert not unredacted.with_name(f"{unredacted.name}-wal").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name what to copy"),
        (["last", "--all"], "contradict"),
        (["--all", "--rule", "EMP"], "write it as NAME=REGEX"),
        (["--all", "--rule", "emp=(?=x)"], "'(?=x)': invalid perl operator"),
        (["--all", "--rule", "Emp=x"], "rename the rule"),
        (["--all", "--key", "--"], "rename the key"),
        (["--all", "--text-bytes-max", "10"], "expected at least 256"),
        (["--all", "--text-bytes-max", "10"], "give more, or leave the limit out"),
        (["--all", "--fingerprint-key-file", "/"], "cannot read the fingerprint key"),
        (["--all", "--fingerprint-key-file", "/dev/null"], "with a key of 0 bytes"),
    ],
)
def test_a_wrong_call_names_its_remedy(
    unredacted: Path, sonde: Any, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """One line, exit code 2, and no copy."""
    ran = sonde("redact", "-o", tmp_path / "clean.db", *arguments)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert said in ran.err
    assert not (tmp_path / "clean.db").exists()


def test_nothing_to_redact_says_so(db: Path, sonde: Any, tmp_path: Path) -> None:
    """A clean store makes an equal copy, and the report says how to look for more."""
    with closing(SQLiteStore(db)) as store:
        store.append("s", [Event("tick", 1, "s", data={"n": 1})])
    ran = sonde("redact", "last", "-o", tmp_path / "clean.db")
    assert "0 of them changed" in ran.err
    assert "--rule NAME=REGEX" in ran.err
    assert json.loads(sonde("redact", "last", "-o", tmp_path / "again.db", "--json").out)["replaced"] == {}


def test_a_missing_session_is_not_found(unredacted: Path, sonde: Any, tmp_path: Path) -> None:
    """Exit code 3, as for every command."""
    assert sonde("redact", "nobody", "-o", tmp_path / "clean.db").code == 3
