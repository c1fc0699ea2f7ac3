"""Opening a store: what is made, with which modes, and what is said when it cannot be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from sonde import errors
from sonde.events import Event
from sonde.store import SQLiteStore
from sonde.store import open as open_store
from sonde.store.location import Mode

ROOT_ONLY = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="drops root's rights to meet a refusal; needs root"
)
NOT_ROOT = 65534


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def filled(path: Path) -> Path:
    with SQLiteStore(path) as store:
        store.append("s", [Event("a.b", 1)])
    return path


def as_nobody(script: str, *arguments: object) -> str:
    """Run Python without root's rights; gives what it printed."""
    code = f"import os; os.setgid({NOT_ROOT}); os.setuid({NOT_ROOT})\n{script}"
    command = [sys.executable, "-c", "import sonde.store, sonde.errors, sonde.events, sys\n" + code]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def open_to(folder: Path) -> None:
    """Let everybody pass through the folders above, which pytest makes for their owner alone."""
    for parent in [folder, *folder.parents]:
        if stat.S_IMODE(parent.stat().st_mode) & 0o055 != 0o055 and parent.owner() == "root":
            parent.chmod(0o755)


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    """0600 and 0700, whatever the umask; the log beside the store too."""
    old = os.umask(0)
    try:
        with SQLiteStore(tmp_path / "a" / "b" / "events.db") as store:
            store.append("s", [Event("a.b", 1)])
            store.register_writer("w")
            modes = {p.name: mode_of(p) for p in (tmp_path / "a").rglob("*")}
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "a") == 0o700
    folders = {"b", "events.db-live"}
    assert {name: mode for name, mode in modes.items() if mode != (0o700 if name in folders else 0o600)} == {}
    assert "events.db-wal" in modes


def test_a_restrictive_umask_takes_nothing_away(tmp_path: Path) -> None:
    """The owner can open again what was made under umask 0777."""
    old = os.umask(0o777)
    try:
        SQLiteStore(tmp_path / "events.db").close()
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "events.db") == 0o600


def test_closing_leaves_one_file(tmp_path: Path) -> None:
    """Neither log, nor lock, nor folder of writers stays."""
    with SQLiteStore(tmp_path / "events.db") as store:
        store.append("s", [Event("a.b", 1)])
        store.register_writer("w")
    assert os.listdir(tmp_path) == ["events.db"]


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the home folder; the URL is absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_store("~/events.db") as store:
        assert store.url == str(tmp_path / "events.db")


def test_a_relative_path_survives_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is taken once, at opening."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("events.db") as store:
        monkeypatch.chdir("/")
        store.append("s", [Event("a.b", 1)])
    assert (tmp_path / "events.db").exists()


@pytest.mark.parametrize("name", ["sp ace.db", "per%20cent.db", "quest?ion#hash.db", "ünïcode.db", "-dash", "a&b=c"])
@pytest.mark.parametrize("mode", ["create", "ro"])
def test_odd_file_names(tmp_path: Path, name: str, mode: Mode) -> None:
    """A name is a name, not a URI."""
    filled(tmp_path / name)
    with open_store(tmp_path / name, mode=mode) as store:
        assert store.head("s") == 1
    assert os.listdir(tmp_path) == [name]


def test_url_of_sqlite(tmp_path: Path) -> None:
    """``sqlite:///`` and a path, relative or absolute as elsewhere."""
    filled(tmp_path / "events.db")
    with open_store(f"sqlite://{tmp_path}/events.db") as store:
        assert store.head("s") == 1


@pytest.mark.parametrize("url", ["postgres2://host/db", "ftp://x", "s3://bucket/key"])
def test_an_unknown_scheme(url: str) -> None:
    """It is named, without what follows it, where a password may be."""
    with pytest.raises(errors.ConfigError, match=r"unknown scheme; expected a path") as caught:
        open_store(url)
    assert url not in str(caught.value)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path(path: str) -> None:
    """An empty path or one with NUL is an argument that cannot work."""
    with pytest.raises(errors.ConfigError, match="expected the path of a file"):
        open_store(path)


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    """SQLite cannot have one: a line says so, and nothing is made."""
    with pytest.raises(errors.ConfigError, match="its path is not UTF-8"):
        SQLiteStore(tmp_path / "runs\udcff.db")
    assert not list(tmp_path.iterdir())


def test_an_unknown_mode(tmp_path: Path) -> None:
    """The modes are named."""
    with pytest.raises(errors.ConfigError, match="expected 'ro', 'rw' or 'create'"):
        open_store(tmp_path / "x", mode="w")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_missing_file(tmp_path: Path, mode: Mode) -> None:
    """Who doesn't create is told, and nothing comes into being."""
    with pytest.raises(errors.StoreNotFoundError, match=r"cannot open event store '.*x/e.db': no such file"):
        open_store(tmp_path / "x" / "e.db", mode=mode)
    assert os.listdir(tmp_path) == []


def test_a_folder(tmp_path: Path) -> None:
    """A folder is no store."""
    with pytest.raises(errors.StoreFormatError, match="it is a folder"):
        open_store(tmp_path)


def test_a_file_as_folder(tmp_path: Path) -> None:
    """A path through a file says so."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.StoreError, match=r"cannot open event store '.*file/e.db'"):
        open_store(tmp_path / "file" / "e.db")


@pytest.mark.parametrize("content", [b"hello", b"x" * 10_000, b"SQLite format 3\0" + b"x" * 5_000])
@pytest.mark.parametrize("mode", ["ro", "rw", "create"])
def test_a_file_of_something_else(tmp_path: Path, content: bytes, mode: Mode) -> None:
    """It is refused and left as it was."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(errors.StoreError, match=r"cannot open event store .*notes.txt"):
        open_store(path, mode=mode)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("mode", ["ro", "rw", "create"])
def test_a_database_of_another_program(tmp_path: Path, mode: Mode) -> None:
    """It is refused and left byte for byte as it was, with nothing beside it."""
    path = tmp_path / "theirs.db"
    theirs = apsw.Connection(str(path))
    theirs.execute("CREATE TABLE events (id)")
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(errors.StoreFormatError, match="an SQLite database of another program"):
        open_store(path, mode=mode)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["theirs.db"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (7, "schema 7, this release supports up to 3; upgrade sonde or pass another --db"),
        (1, "schema 1, from before the first release, which has 3; move the file away or pass another --db"),
    ],
)
@pytest.mark.parametrize("mode", ["ro", "rw", "create"])
def test_another_schema(tmp_path: Path, mode: Mode, version: int, expected: str) -> None:
    """The message names both versions and the way out; the file stays as it is."""
    path = filled(tmp_path / "e.db")
    raw = apsw.Connection(str(path))
    raw.execute(f"PRAGMA user_version = {version}")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(errors.StoreSchemaError) as caught:
        open_store(path, mode=mode)
    assert str(caught.value) == f"cannot open event store '{path}': {expected}"
    assert path.read_bytes() == before


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    """As ``touch`` or ``mktemp`` make it; a reader is told that it is empty."""
    path = tmp_path / "e.db"
    path.touch()
    with pytest.raises(errors.StoreNotFoundError, match="the file is empty"):
        open_store(path, mode="ro")
    with open_store(path, mode="rw") as store:
        store.append("s", [Event("a.b", 1)])
    with open_store(path, mode="ro") as store:
        assert store.head("s") == 1


def test_a_damaged_file(tmp_path: Path) -> None:
    """Damage is called damage."""
    path = tmp_path / "e.db"
    with SQLiteStore(path) as store:
        store.append("s", [Event("a.b", n, data={"text": "x" * 500}) for n in range(2_000)])
    content = bytearray(path.read_bytes())
    content[8_192:] = b"\xff" * (len(content) - 8_192)
    path.write_bytes(content)
    with open_store(path) as store, pytest.raises(errors.StoreCorruptError, match=r"cannot read event store .*damaged"):
        list(store.read_all())


def test_a_damaged_description_of_the_tables(tmp_path: Path) -> None:
    """A flip there can make a key a column like others, and every row would seem to be gone: the file isn't opened."""
    path = filled(tmp_path / "e.db")
    content = path.read_bytes()
    assert content.count(b"events ( position INTEGER PRIMARY KEY") == 1
    path.write_bytes(content.replace(b"position INTEGER PRIMARY KEY", b"position INTEGER XRIMARY KEY", 1))
    modes: tuple[Mode, ...] = ("ro", "rw", "create")
    for mode in modes:
        with pytest.raises(errors.StoreCorruptError, match=r"its tables aren't those that sonde made.*--repair"):
            open_store(path, mode=mode)


def test_tables_of_ones_own_beside_sondes(tmp_path: Path) -> None:
    """A view or an index that somebody has added keeps nobody out."""
    path = filled(tmp_path / "e.db")
    connection = apsw.Connection(str(path))
    connection.execute("CREATE VIEW mine AS SELECT count(*) FROM events")
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with open_store(path) as store:
        assert store.head("s")


def test_reading_only_refuses_to_write(tmp_path: Path) -> None:
    """Each of the writing calls says how to open instead; the file stays as it was."""
    path = filled(tmp_path / "e.db")
    before = path.read_bytes()
    with open_store(path, mode="ro") as store:
        for call in (
            lambda: store.append("s", [Event("a.b", 1)]),
            lambda: store.truncate("s", 2),
            lambda: store.register_writer("w"),
        ):
            with pytest.raises(errors.StoreError, match="opened for reading only; open it with mode='rw'"):
                call()
        assert store.head("s") == 1
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["e.db"]


def test_reading_only_sees_a_live_writer(tmp_path: Path) -> None:
    """A reader opened before an append sees it."""
    with SQLiteStore(tmp_path / "e.db") as writer, open_store(tmp_path / "e.db", mode="rw") as second:
        writer.append("s", [Event("a.b", 1)])
        with open_store(tmp_path / "e.db", mode="ro") as reader:
            second.append("s", [Event("a.b", 1)])
            assert reader.head("s") == 2


def test_a_young_store_is_recognised(tmp_path: Path) -> None:
    """Before its first checkpoint a store is all in its log."""
    with SQLiteStore(tmp_path / "e.db") as writer:
        writer.append("s", [Event("a.b", 1)])
        copied = tmp_path / "copy"
        copied.mkdir()
        for suffix in ("", "-wal"):
            (copied / f"e.db{suffix}").write_bytes((tmp_path / f"e.db{suffix}").read_bytes())
    with open_store(copied / "e.db", mode="ro") as reader:
        assert reader.head("s") == 1


@ROOT_ONLY
def test_reading_where_one_may_not_write(tmp_path: Path) -> None:
    """A store in a foreign folder can be read, and nothing is left there."""
    path = filled(tmp_path / "e.db")
    path.chmod(0o444)
    open_to(tmp_path)
    script = "s = sonde.store.open(sys.argv[1], mode='ro'); print(s.head('s'), len(list(s.read_all()))); s.close()"
    assert as_nobody(script, path).split() == ["1", "1"]
    assert os.listdir(tmp_path) == ["e.db"]


@ROOT_ONLY
def test_a_log_that_may_not_be_read(tmp_path: Path) -> None:
    """Where events lie in a log that this user cannot open, that is said, not an older state shown."""
    with SQLiteStore(tmp_path / "e.db") as writer:
        writer.append("s", [Event("a.b", 1)])
        content = {suffix: (tmp_path / f"e.db{suffix}").read_bytes() for suffix in ("", "-wal")}
        writer.truncate("s", 1)
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    for suffix, data in content.items():
        (folder / f"e.db{suffix}").write_bytes(data)
        (folder / f"e.db{suffix}").chmod(0o444)
    open_to(folder)
    script = """
try:
    sonde.store.open(sys.argv[1], mode='ro')
except sonde.errors.StoreError as error:
    print(type(error).__name__, error)
"""
    assert "Error cannot open event store" in as_nobody(script, folder / "e.db")


@ROOT_ONLY
@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "mode", "words"),
    [
        (0o600, 0o755, "ro", "no permission to read the file"),
        (0o644, 0o755, "rw", "no permission to write the file; change its mode, open it for reading only, or"),
        (0o666, 0o755, "rw", "no permission to write its folder"),
        (0o666, 0o700, "ro", "no permission to enter its folder"),
        (None, 0o755, "create", "no permission to create it there"),
    ],
)
def test_missing_permissions(tmp_path: Path, file_mode: int | None, folder_mode: int, mode: Mode, words: str) -> None:
    """Each refusal names what may not be done with what."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    if file_mode is not None:
        filled(folder / "e.db").chmod(file_mode)
    open_to(tmp_path)
    folder.chmod(folder_mode)
    script = """
try:
    sonde.store.open(sys.argv[1], mode=sys.argv[2])
except sonde.errors.StorePermissionError as error:
    print(error)
"""
    assert words in as_nobody(script, folder / "e.db", mode)


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    """Appending goes to the file at the path, never to one that nobody can open any more."""
    path = tmp_path / "e.db"
    with SQLiteStore(path) as store:
        store.append("s", [Event("a.b", 1), Event("a.b", 2)])
        store.register_writer("w")
        for left in tmp_path.glob("e.db*"):
            if left.is_file():
                left.unlink()
        assert store.append("s", [Event("a.b", 3)]).first_version == 1
        with open_store(path, mode="ro") as reader:
            assert [event.time_ns for event in reader.read("s")] == [3]
            assert reader.liveness("w") == "alive"
