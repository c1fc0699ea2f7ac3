"""``sonde tail``: the last events, and the next ones while they are recorded, whatever happens to the file."""

import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sonde as library
from sonde.cli.documents import EventDocument
from sonde.events import Event
from sonde.store import open as open_store


def types_of(ran: Any) -> list[str]:
    return [document["type"] for document in ran.documents]


def numbered(count: int, session: str = "s", first: int = 0) -> list[Event]:
    return [Event("tick", 10**18 + n, session, data={"n": n}) for n in range(first, first + count)]


def test_the_last_events_in_order(db: Path, sonde: Any, sample: Any) -> None:
    """Twenty by default, -n of them otherwise, oldest first; all of them if there are fewer."""
    sample.append(db, *numbered(500))

    def shown(*arguments: object) -> list[int]:
        return [document["data"]["n"] for document in sonde("tail", "--json", *arguments).documents]

    assert shown() == list(range(480, 500))
    assert shown("-n", 3) == [497, 498, 499]
    assert shown("-n", 0) == []
    assert shown("-n", 9999) == list(range(500))


def test_a_document_has_the_promised_fields(recorded: Path, sonde: Any) -> None:
    """--json prints the documented fields, snake_case, with identity and place."""
    document = sonde("tail", "-n", 12, "--json").documents[2]
    assert list(document) == list(EventDocument.__struct_fields__)
    assert (document["type"], document["writer_id"], document["seq"]) == ("tool.started", "w-1", 3)
    assert (document["stream_id"], document["version"]) == ("fix-42", 3)
    assert document["data"] == {"tool": "read_file", "args": {"path": "a.py"}}


def test_lines_say_what_happened(recorded: Path, sonde: Any) -> None:
    """A line has the type, the name, the duration, what was used, and why it failed; spans are indented."""
    lines = [line[14:] for line in sonde("tail", "fix-42").out.splitlines()[1:]]
    assert lines[3] == "    tool.completed  read_file  100 ms"
    assert lines[6] == "    model.completed  gpt-5  1.00 s  1.2k in, 340 out, $0.12"
    assert lines[7] == "⚠ 12 events missed here: queue_full"
    assert lines[9] == "    tool.failed  write_file  200 ms  No space left"
    assert lines[-1] == "session.ended  2.00 s"


def test_another_day_is_named(recorded: Path, sonde: Any) -> None:
    """Events of a day that isn't today begin with its date."""
    assert sonde("tail").out.splitlines()[0].startswith("── Wednesday, 2026-02-11")


def test_sessions_are_told_apart(db: Path, sonde: Any, sample: Any) -> None:
    """Without SESSION each line names its session; with one, only its events are shown, and none is named."""
    sample.append(db, *numbered(3, "one"), writer_id="a")
    sample.append(db, *numbered(3, "two", first=3), writer_id="b")
    both = sonde("tail").out
    assert "  one" in both
    assert "  two" in both
    assert [document["data"]["n"] for document in sonde("tail", "one", "--json").documents] == [0, 1, 2]
    assert "one" not in sonde("tail", "one").out


def test_types_can_be_picked(recorded: Path, sonde: Any) -> None:
    """--types takes names and patterns, and still finds as many as it is asked for."""
    assert types_of(sonde("tail", "--types", "tool.failed", "--json")) == ["tool.failed"]
    assert types_of(sonde("tail", "--types", "task.*,*.gap", "--json")) == [
        "task.started",
        "sonde.gap",
        "task.completed",
    ]


def test_types_that_nothing_fits_are_said(recorded: Path, sonde: Any) -> None:
    """Nothing is printed but a line on stderr that names the types there are."""
    for arguments in ([], ["last", "--json"]):
        ran = sonde("tail", *arguments, "--types", "nosuch,x.*")
        assert (ran.code, ran.out) == (0, "")
        assert "no event is of type nosuch, x.*; there are " in ran.err
        assert "tool.started" in ran.err


def test_a_rare_type_is_found_far_back(db: Path, sonde: Any, sample: Any) -> None:
    """The last event of a type is found behind thousands of others, by name and by pattern, in one session or all."""
    sample.append(db, Event("rare.one", 10**18, "s"), *numbered(5000))
    for arguments in (["rare.one"], ["rare.*"], ["rare.one", "s"], ["rare.*", "s"]):
        assert types_of(sonde("tail", "--json", "--types", *arguments)) == ["rare.one"]


def test_an_unknown_session(recorded: Path, sonde: Any) -> None:
    """A wrong name exits with 3."""
    assert sonde("tail", "nope").code == 3


def test_the_original_s_events(sonde: Any, original: Any) -> None:
    """A database of the Go original can be looked at, too."""
    ran = sonde("tail", "-n", 400, "--json", "--db", original("telemetry.db"))
    assert len(ran.documents) == 380


# -- following --------------------------------------------------


def test_events_arrive_while_they_are_recorded(db: Path, starting: Any) -> None:
    """With -f each event is shown soon after its emit, of every session, those that begin later included."""
    with library.record(db, session_id="first") as rec:
        rec.flush()
        tail = starting("tail", "-f", "--json")
        assert json.loads(tail.line())["type"] == "session.started"
        delays_s = []
        for number in range(5):
            began_s = time.monotonic()
            rec.emit("tick", n=number)
            assert json.loads(tail.line())["data"] == {"n": number}
            delays_s.append(time.monotonic() - began_s)
        # The promise is 0.5 s on an idle machine; on a loaded one the best of five must keep it.
        assert min(delays_s) < 0.5
        with library.record(db, session_id="second"):
            assert json.loads(tail.line())["session_id"] == "second"


def test_follow_begins_after_the_last_lines(db: Path, starting: Any, sample: Any) -> None:
    """Between the past events and the live ones nothing is missing and nothing twice."""
    sample.append(db, *numbered(100))
    tail = starting("tail", "-f", "-n", 2, "--json")
    assert [json.loads(tail.line())["data"]["n"] for _ in range(2)] == [98, 99]
    sample.append(db, *numbered(50, first=100), first_seq=101)
    assert [json.loads(tail.line())["data"]["n"] for _ in range(50)] == list(range(100, 150))


def test_follow_keeps_to_a_session_and_types(db: Path, starting: Any, sample: Any) -> None:
    """-f with SESSION and --types shows nothing else."""
    sample.append(db, *numbered(1, "one"), writer_id="a")
    tail = starting("tail", "-f", "one", "--types", "t*k", "--json")
    assert json.loads(tail.line())["data"] == {"n": 0}
    other = Event("other", 10**18, "one")
    wanted = Event("tick", 10**18, "one", data={"n": "mine"})
    sample.append(db, *numbered(3, "two"), other, wanted, writer_id="b")
    assert json.loads(tail.line())["data"] == {"n": "mine"}


def test_follow_waits_for_a_file(db: Path, starting: Any, sample: Any) -> None:
    """Without a file -f says that it waits, and shows everything from the first event on."""
    tail = starting("tail", "-f", "--json")
    assert "waiting for" in tail.note()
    sample.append(db, *numbered(30))
    assert [json.loads(tail.line())["data"]["n"] for _ in range(30)] == list(range(30))


def test_follow_waits_for_a_session(db: Path, starting: Any, sample: Any) -> None:
    """Without a file, SESSION is the full name of one to come."""
    tail = starting("tail", "-f", "mine", "--json")
    assert "waiting for" in tail.note()
    sample.append(db, *numbered(3, "other"), writer_id="a")
    sample.append(db, *numbered(1, "mine", first=7), writer_id="b")
    assert json.loads(tail.line())["data"] == {"n": 7}


def test_follow_waits_for_a_file_that_is_empty_yet(db: Path, starting: Any, sample: Any) -> None:
    """A file that has just been made and holds nothing is waited for, too."""
    db.touch()
    tail = starting("tail", "-f", "--json")
    assert "waiting for" in tail.note()
    sample.append(db, *numbered(1))
    assert json.loads(tail.line())["data"] == {"n": 0}


def test_follow_bears_with_a_file_that_is_being_copied(db: Path, starting: Any, sample: Any, tmp_path: Path) -> None:
    """A file that is no store for a moment, as a copy under way, is waited for; one that stays so ends with 2."""
    sample.append(tmp_path / "whole.db", *numbered(1))
    whole = (tmp_path / "whole.db").read_bytes()
    tail = starting("tail", "-f", "--json")
    assert "waiting for" in tail.note()
    db.write_bytes(whole[:3000])
    time.sleep(0.5)  # so that it is seen in this state; the test holds either way
    db.write_bytes(whole)
    assert json.loads(tail.line())["data"] == {"n": 0}


def test_follow_gives_up_on_what_is_no_store(db: Path, starting: Any) -> None:
    """A file that appears and stays something else ends -f with one line and exit code 2."""
    tail = starting("tail", "-f", "--json")
    tail.note()
    db.write_text("hello " * 1000)
    assert tail.process.wait(30) == 2
    assert "no SQLite database" in tail.note()


def test_ctrl_c_ends_it(recorded: Path, starting: Any) -> None:
    """Ctrl-C ends -f with 130 and without a traceback."""
    tail = starting("tail", "-f", "-n", 1, "--json")
    tail.line()
    assert tail.interrupt() == (130, "")


def test_ctrl_c_ends_the_wait_for_a_file(db: Path, starting: Any) -> None:
    """Ctrl-C while it waits for a file ends it, too."""
    tail = starting("tail", "-f")
    tail.note()
    assert tail.interrupt() == (130, "")


def test_a_removed_file_is_waited_for(recorded: Path, starting: Any, sample: Any) -> None:
    """When the file goes, -f says so and waits; the file that comes in its place is followed from its beginning."""
    tail = starting("tail", "-f", "-n", 1, "--json")
    tail.line()
    recorded.unlink()
    assert "was removed" in tail.note()
    sample.append(recorded, *numbered(3))
    assert [json.loads(tail.line())["data"]["n"] for _ in range(3)] == [0, 1, 2]
    sample.append(recorded, *numbered(2, first=3), first_seq=4)
    assert [json.loads(tail.line())["data"]["n"] for _ in range(2)] == [3, 4], "nothing is shown twice"


def test_a_replaced_file_is_followed(recorded: Path, starting: Any, sample: Any, tmp_path: Path) -> None:
    """When another file takes its place, -f says so and goes on with that: each event of it is shown once."""
    tail = starting("tail", "-f", "-n", 1, "--json")
    tail.line()
    sample.append(tmp_path / "other.db", *numbered(3))
    os.replace(tmp_path / "other.db", recorded)
    assert "was replaced" in tail.note()
    assert [json.loads(tail.line())["data"]["n"] for _ in range(3)] == [0, 1, 2]
    sample.append(recorded, Event("n", data={"n": 3}), writer_id="w-2")
    assert json.loads(tail.line())["data"]["n"] == 3
    assert tail.interrupt() == (130, "")


def test_killing_it_disturbs_no_recorder(db: Path, starting: Any) -> None:
    """A tail that is killed leaves no lock behind: recording goes on, and nothing is lost."""
    with library.record(db, session_id="s") as rec:
        rec.flush()
        for _ in range(3):
            tail = starting("tail", "-f", "--json")
            tail.line()
            tail.process.send_signal(signal.SIGKILL)
            tail.process.wait()
            rec.emit("tick")
        assert rec.flush(timeout_s=20)
    with closing(open_store(db, mode="ro")) as store:
        assert sum(event.type == "tick" for event in store.read_all()) == 3


def test_a_reader_that_goes_away_ends_it(recorded: Path, starting: Any, sample: Any) -> None:
    """When what it is piped into ends, so does it, quietly."""
    tail = starting("tail", "-f", "-n", 1, "--json")
    tail.line()
    tail.process.stdout.close()
    sample.append(recorded, *numbered(3, "more"), writer_id="w-2")
    assert tail.process.wait(30) == 0
    assert tail.process.stderr.read() == ""


@pytest.mark.parametrize("arguments", [["-n", "-1"], ["-n", "x"]])
def test_a_bad_number_is_a_usage_error(recorded: Path, sonde: Any, arguments: list[str]) -> None:
    """-n takes a number that makes sense."""
    assert sonde("tail", *arguments).code == 2
