"""``sonde prune``: says what would go, asks, removes, and says what went; what runs and what is to be kept stays."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sonde.cli.amounts import bytes_of, seconds_of
from sonde.events import Event
from sonde.store import open as open_store


def sessions(path: Path) -> dict[str, tuple[int, int]]:
    """First and last version of the sessions that hold events."""
    with closing(open_store(path, mode="ro")) as store:
        return {
            stream.stream_id: (stream.first_version, stream.last_version)
            for stream in store.streams()
            if stream.first_version and stream.stream_id != "sonde.retention"
        }


@pytest.fixture
def three(db: Path, sample: Any) -> Path:
    """Three sessions that ended an hour, two days and forty days ago."""
    for name, age_s in (("oldest", 40 * 86_400), ("older", 2 * 86_400), ("newest", 3_600)):
        at_ns = time.time_ns() - age_s * 10**9
        sample.append(
            db,
            Event("session.started", at_ns, name),
            *(Event("tick", at_ns, name, data={"text": f"{name} {number}" * 5}) for number in range(98)),
            Event("session.ended", at_ns, name),
            writer_id=f"w-{name}",
        )
    return db


def test_by_age(three: Path, sonde: Any) -> None:
    """What is older goes, one line says so, on stderr, and where it went from is as it was."""
    ran = sonde("prune", "--older-than", "30d", "--yes")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("removed 100 events: 1 session, ")
    assert "oldest  all 100 events (old enough)" in ran.err
    assert set(sessions(three)) == {"older", "newest"}
    assert sonde("doctor").code == 0
    assert [line["session_id"] for line in sonde("sessions", "--json").documents] == ["newest", "older"]


def test_a_dry_run_changes_nothing(three: Path, sonde: Any) -> None:
    """Not a byte; the JSON is that of the real run, with estimates."""
    before = three.read_bytes()
    (document,) = sonde("prune", "--older-than", "1d", "--keep", "older", "--dry-run", "--json").documents
    assert three.read_bytes() == before
    assert document["dry_run"]
    (done,) = sonde("prune", "--older-than", "1d", "--keep", "older", "--yes", "--json").documents
    for one in (document, done):
        assert (one["events"], one["sessions"], one["complete"], one["over"]) == (100, 1, True, False)
        assert [(row["stream_id"], row["events"], row["reason"]) for row in one["removals"]] == [("oldest", 100, "age")]
    assert document["removals"][0]["size_bytes"] > 0
    assert done["bytes_after"] < done["bytes_before"]
    assert set(sessions(three)) == {"older", "newest"}


def test_by_size_and_number_and_name(three: Path, sonde: Any) -> None:
    """Each limit by itself; a session that lost its beginning says so wherever it is shown."""
    assert sonde("prune", "--max-sessions", "2", "--yes").code == 0
    assert set(sessions(three)) == {"older", "newest"}
    with closing(open_store(three)) as store:
        store.append("newest", [Event("tick", time.time_ns(), "newest", data={"n": n}) for n in range(2_000)])
    (document,) = sonde("prune", "--max-size", "100kB", "--keep", "newest", "--yes", "--json").documents
    assert document["over"]
    assert set(sessions(three)) == {"newest"}
    with closing(open_store(three)) as store:
        store.truncate("newest", 41)
    assert "removed  40 events by retention" in sonde("show", "newest").out
    assert sonde("show", "newest", "--json").documents[0]["removed"] == 40
    assert "40 removed by retention" in sonde("stats", "newest", "--no-plots").out
    assert sonde("doctor").code == 0
    assert sonde("prune", "--session", "newest", "--yes").code == 0
    assert sessions(three) == {}


def test_it_asks(three: Path, sonde: Any) -> None:
    """Without --yes and without a terminal to ask at nothing is done, and the remedy is named."""
    ran = sonde("prune", "--older-than", "1d")
    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err
    assert len(sessions(three)) == 3
    ran = sonde("prune", "--older-than", "90d")
    assert (ran.code, ran.err) == (0, "nothing to remove\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--older-than"),
        (["--older-than", "soon"], "30d"),
        (["--max-size", "2 apples"], "2GB"),
        (["--max-size", "0"], "2GB"),
        (["--max-size", "10"], "'10' is no size of a byte or more, with its unit; write it as 500MB or 2GB"),
        (["--older-than", "5"], "'5' is no duration of a second or more, with its unit; write it as 12h, 30d or 8w"),
        (["--max-size", "50KB"], "cannot make the file 50,000 bytes small: all events would go; expected 100,000"),
        (["--session", "older", "--keep", "older"], "both name 'older'"),
    ],
)
def test_what_cannot_be_meant(three: Path, sonde: Any, arguments: list[str], said: str) -> None:
    """One line, exit code 2, and nothing is done."""
    ran = sonde("prune", "--yes", *arguments)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert said in ran.err
    assert len(sessions(three)) == 3


def test_an_unknown_session(three: Path, sonde: Any) -> None:
    """Named to go or to stay: exit code 3, and nothing is done."""
    for option in ("--session", "--keep"):
        assert sonde("prune", "--older-than", "1d", option, "nope", "--yes").code == 3
    assert len(sessions(three)) == 3


def test_what_runs_stays(living: Path, sonde: Any) -> None:
    """A session that another process records is left as it is, and that is said."""
    ran = sonde("prune", "--session", "living-1", "--yes")
    assert ran.code == 1
    assert "still running, and left as they are: living-1" in ran.err
    assert "living-1" in sessions(living)


def test_no_store(db: Path, sonde: Any) -> None:
    """Nothing is made, and the exit code is 3."""
    assert sonde("prune", "--older-than", "1d", "--yes").code == 3
    assert not db.exists()


def test_ctrl_c_ends_it_well(db: Path, sample: Any, sonde: Any) -> None:
    """In the middle of it: exit code 130, what went is said, and the store is sound."""
    for number in range(10):
        at_ns = 10**18 + number
        sample.append(
            db, *(Event("tick", at_ns, f"s{number}", data={"n": n}) for n in range(1_500)), writer_id=f"w{number}"
        )
    process = subprocess.Popen(
        [sys.executable, "-m", "sonde", "prune", "--older-than", "1d", "--yes", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    sample.wait_until(lambda: process.poll() is not None or len(sessions(db)) < 10)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 130)  # 0: it was done before the signal came
    assert sonde("doctor").code == 0
    left = sessions(db)
    assert (process.returncode == 0) == (not left)
    assert '"complete":true' in out if not left else '"complete":false' in out


def test_amounts() -> None:
    """As people write them; nothing else is guessed at."""
    assert [seconds_of(text) for text in ("45s", "10 min", "2H", "1.5d", "2w")] == [45, 600, 7_200, 129_600, 1_209_600]
    assert [bytes_of(text) for text in ("7 B", "7b", "1kB", "1K", "1KiB", "2.5MB", "3 GiB", "1TB")] == [
        7, 7, 1_000, 1_000, 1_024, 2_500_000, 3 * 1024**3, 10**12,
    ]  # fmt: skip
    for text in ("", "45", "d", "-1d", "1 fortnight", "1e3", "nan", "9" * 400):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            seconds_of(text)
