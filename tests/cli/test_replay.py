"""``sonde replay``: the same events, in order, at the pace at which they happened."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from sonde.cli.documents import EventDocument
from sonde.events import Event


def paced(gaps_s: list[float]) -> list[Event]:
    """Events with those pauses between them."""
    moments = [10**18]
    for gap_s in gaps_s:
        moments.append(moments[-1] + round(gap_s * 1e9))
    return [Event("tick", moment, "s", data={"n": n}) for n, moment in enumerate(moments)]


def test_all_events_come_in_order(recorded: Path, sonde: Any) -> None:
    """At full speed every event passes, as it was: type, time, spans, data."""
    replayed = sonde("replay", "fix-42", "--speed", "max", "--json")
    stored = sonde("tail", "fix-42", "-n", 100, "--json").documents
    assert replayed.code == 0
    assert list(replayed.documents[0]) == list(EventDocument.__struct_fields__)
    for field in ("type", "time_ns", "session_id", "span_id", "parent_id", "data"):
        assert [document[field] for document in replayed.documents] == [document[field] for document in stored]


def test_full_speed_loses_nothing(db: Path, sonde: Any, sample: Any) -> None:
    """More events than any live buffer holds pass without a gap."""
    sample.append(db, *paced([0.0] * 9_999))
    documents = sonde("replay", "last", "--speed", "max", "--json").documents
    assert [document["data"]["n"] for document in documents] == list(range(10_000))


def test_pauses_are_kept(db: Path, sonde: Any, sample: Any) -> None:
    """The replay takes as long as the run did, divided by the speed."""
    sample.append(db, *paced([0.4, 0.4]))
    began_s = time.monotonic()
    assert sonde("replay", "last", "--speed", "2x", "--json").code == 0
    assert time.monotonic() - began_s >= 0.4


def test_long_pauses_can_be_cut(db: Path, sonde: Any, sample: Any) -> None:
    """--max-gap bounds each pause: an hour of silence isn't waited for."""
    sample.append(db, *paced([3600.0, 3600.0]))
    ran = sonde("replay", "last", "--max-gap", "0.05", "--json")
    assert len(ran.documents) == 3


def test_lines_for_a_person(recorded: Path, sonde: Any) -> None:
    """Without --json they are the lines of tail, and stderr says how many there were."""
    ran = sonde("replay", "last", "--speed", "max")
    assert "tool.failed  write_file  200 ms  No space left" in ran.out
    assert "12 events" in ran.err


def test_ctrl_c_ends_it_in_a_pause(db: Path, starting: Any, sample: Any) -> None:
    """Ctrl-C in an hour's pause ends it at once, with 130 and no traceback."""
    sample.append(db, *paced([3600.0]))
    replay = starting("replay", "last", "--json")
    assert json.loads(replay.line())["data"] == {"n": 0}
    assert replay.interrupt() == (130, "")


def test_a_reader_that_goes_away_ends_it(db: Path, starting: Any, sample: Any) -> None:
    """When what it is piped into has enough, it ends quietly."""
    sample.append(db, *paced([0.0] * 20_000))
    replay = starting("replay", "last", "--speed", "max", "--json")
    replay.line()
    replay.process.stdout.close()
    assert replay.process.wait(30) == 0
    assert replay.process.stderr.read() == ""


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan"])
def test_a_speed_that_cannot_be_is_refused(recorded: Path, sonde: Any, speed: str) -> None:
    """--speed is a positive factor or max."""
    ran = sonde("replay", "last", "--speed", speed)
    assert ran.code == 2
    assert "max" in ran.err


def test_an_unknown_session(recorded: Path, sonde: Any) -> None:
    """A wrong name exits with 3."""
    assert sonde("replay", "nope").code == 3
