"""``sonde show``: the header, the tree, its bounds, and one operation in full."""

import re
from pathlib import Path
from typing import Any

import pytest

from sonde.cli.documents import EventDocument, OperationDocument, SessionDocument
from sonde.events import Event

TREE = """\
✓ session  2.00 s
└─ ✓ task  read the code  1.70 s
   ├─ ✓ tool  read_file  path=a.py  100 ms
   ├─ ✓ model  gpt-5  1.00 s  1.2k in, 340 out  $0.12
   ├─ ⚠ 12 events missed here: queue_full
   └─ ✗ tool  write_file  path=b.py  failed  200 ms
         OSError: No space left  --span 00000000
"""


def tree_of(ran: Any) -> str:
    """What follows the header."""
    return str(ran.out.partition("\n\n")[2])


def test_the_tree_shows_what_happened_inside_what(recorded: Path, sonde: Any) -> None:
    """Operations with durations, tokens, cost and the error's first line; a gap stands where events are missing."""
    assert tree_of(sonde("show", "fix-42")) == TREE


def test_the_header_says_who_when_and_how_much(recorded: Path, sonde: Any) -> None:
    """Status, start, duration, command, process, tags, totals and losses come first."""
    header = sonde("show", "fix-42").out.partition("\n\n")[0]
    assert header.startswith("fix-42  completed\n")
    for part in (
        "took 2.00 s",
        "agent.py --fast (pid 4242 on box)",
        "nightly",
        "4 operations, 1 failed · 1.2k tokens in, 340 out · $0.12 · 12 events",
        "12 events never reached the store",
    ):
        assert part in header


def test_json_is_a_session_and_then_its_operations(recorded: Path, sonde: Any) -> None:
    """The first line is the session, then one object an operation with its depth, parents first."""
    first, *others = sonde("show", "fix-42", "--json").documents
    assert list(first) == list(SessionDocument.__struct_fields__)
    assert all(list(document) == list(OperationDocument.__struct_fields__) for document in others)
    assert [(document["depth"], document["kind"], document["name"], document["status"]) for document in others] == [
        (0, "session", "fix-42", "completed"),
        (1, "task", "read the code", "completed"),
        (2, "tool", "read_file", "completed"),
        (2, "model", "gpt-5", "completed"),
        (2, "tool", "write_file", "failed"),
    ]
    assert others[2]["parent_id"] == others[1]["span_id"]
    assert others[4]["error"] == "No space left\non device"
    assert others[3]["cost_source"] == "reported"
    assert all(document["data"] is None for document in others)


def test_json_full_has_the_data(recorded: Path, sonde: Any) -> None:
    """With --full each operation carries what its events say."""
    tool = sonde("show", "fix-42", "--json", "--full", "--kind", "tool").documents[1]
    assert tool["data"] == {"tool": "read_file", "args": {"path": "a.py"}, "duration_s": 0.1, "result": "x = 1"}


@pytest.mark.parametrize("name", ["fix-42", "fix", "last"])
def test_a_session_may_be_abbreviated(recorded: Path, sonde: Any, name: str) -> None:
    """SESSION is an id, a beginning of it, or "last"."""
    assert sonde("show", name, "--json").documents[0]["session_id"] == "fix-42"


def test_an_unknown_session_names_the_nearest(recorded: Path, sonde: Any) -> None:
    """A wrong name exits with 3 and one line that suggests the right one."""
    ran = sonde("show", "fx-42")
    assert (ran.code, ran.out) == (3, "")
    assert "did you mean 'fix-42'?" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_depth_says_what_it_hides(recorded: Path, sonde: Any) -> None:
    """--depth cuts the tree and counts what lies below."""
    assert tree_of(sonde("show", "last", "--depth", 1)).splitlines() == [
        "✓ session  2.00 s",
        "└─ ✓ task  read the code  1.70 s  (+4 inside)",
    ]


def test_failures_stand_in_their_context(recorded: Path, sonde: Any) -> None:
    """--failures shows what failed and what it lies in, nothing else but gaps."""
    shown = tree_of(sonde("show", "last", "--failures"))
    assert "write_file" in shown
    assert "read the code" in shown
    assert "read_file" not in shown
    assert "gpt-5" not in shown


def test_kinds_can_be_picked(recorded: Path, sonde: Any) -> None:
    """--kind shows operations of that kind; one that nothing has says so."""
    assert "read_file" not in tree_of(sonde("show", "last", "--kind", "model"))
    assert "gpt-5" in tree_of(sonde("show", "last", "--kind", "model"))
    assert "no operation fits" in tree_of(sonde("show", "last", "--kind", "plan"))


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_kind_that_is_not_known_is_refused(recorded: Path, sonde: Any, more: list[str]) -> None:
    """A kind that neither sonde nor the session knows is a mistake; the session's own are named."""
    ran = sonde("show", "last", "--kind", "nope", *more)
    assert (ran.code, ran.out) == (2, "")
    assert "no operation of kind 'nope'; it has session, task, tool, model" in ran.err


def test_events_stand_in_their_place(recorded: Path, sonde: Any) -> None:
    """--events shows the other events where they happened; as JSON they are documents of their own."""
    lines = tree_of(sonde("show", "last", "--events")).splitlines()
    assert "read_file" in lines[2]
    assert lines[3].startswith("   ├─ · note.taken  text=hello  ")
    assert "gpt-5" in lines[4]
    documents = sonde("show", "last", "--events", "--json").documents
    events = [document for document in documents if "record" not in document]
    assert len(events) == 12
    assert list(events[0]) == list(EventDocument.__struct_fields__)


def test_an_event_without_a_parent_stands_under_the_session(db: Path, sonde: Any, sample: Any) -> None:
    """What a plain thread emits while a tool of another thread runs is not shown inside that tool."""
    ns = 1_770_802_200 * 10**9
    sample.append(
        db,
        sample.started("session", 1),
        sample.started("tool", 2, 1, at_s=0.1, tool="search"),
        Event("note.inside", ns + 2 * 10**8, "fix-42", parent_id=sample.span(2)),
        Event("note.thread", ns + 3 * 10**8, "fix-42"),
        sample.ended("tool", 2, 1, at_s=0.4, tool="search"),
        sample.ended("session", 1, how="ended", at_s=0.5),
    )
    lines = tree_of(sonde("show", "last", "--events")).splitlines()
    assert [line.partition("note")[0] for line in lines[2:]] == ["│  └─ · ", "└─ · "]
    assert "note.thread" in lines[3]


def test_the_way_to_an_error_s_details_is_not_cut(
    db: Path, sonde: Any, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a narrow terminal the error's text is shortened, and the span behind it stays whole."""
    sample.append(db, sample.started("tool", 1, tool="t"), sample.ended("tool", 1, how="failed", error="x" * 150))
    monkeypatch.setenv("COLUMNS", "60")
    line = next(line for line in sonde("show", "last").out.splitlines() if "xxx" in line)
    assert line.endswith(f"x…  --span {sample.span(1)[:8]}")
    assert len(line) == 60


def test_one_operation_with_all_its_data(recorded: Path, sonde: Any, sample: Any) -> None:
    """--span shows where an operation lies, its error in full, and what its events say."""
    shown = sonde("show", "last", "--span", sample.span(5)).out
    for part in (
        "write_file",
        "failed",
        "session fix-42 / task read the code",
        "OSError: No space left",
        "on device",
        "b.py",
    ):
        assert part in shown
    (document,) = sonde("show", "last", "--span", sample.span(5), "--json").documents
    assert document["data"]["args"] == {"path": "b.py"}


def test_a_span_must_be_one(recorded: Path, sonde: Any) -> None:
    """A beginning that fits several spans, or none, is refused with the way out."""
    several = sonde("show", "last", "--span", "0000")
    assert several.code == 2
    assert "5 operations begin with '0000'" in several.err
    none = sonde("show", "last", "--span", "beef")
    assert none.code == 2
    assert "--full" in none.err


def test_a_dead_process_leaves_interrupted_operations(killed: Path, sonde: Any) -> None:
    """What was open when the process was killed shows as interrupted, with that word."""
    shown = tree_of(sonde("show", "last")).splitlines()
    assert shown == ["! session  interrupted", "└─ ! tool  search  q=x  interrupted"]


def test_a_live_process_has_running_operations(living: Path, sonde: Any) -> None:
    """What is open while the process lives shows as running, and how long it has run so far."""
    ran = sonde("show", "last")
    assert tree_of(ran).splitlines() == ["● session  running", "└─ ● tool  search  q=x  running"]
    assert "running for" in ran.out


def test_a_long_row_is_folded_around_its_failures(db: Path, sonde: Any, sample: Any) -> None:
    """Of 500 siblings the first, the last and the failed are shown; the rest is counted, and --full shows all."""
    events = [sample.started("session", 1, pid=1)]
    for number in range(2, 502):
        how = "failed" if number == 300 else "completed"
        events.append(
            sample.ended("tool", number, 1, how=how, tool=f"tool-{number}", error="odd one" if how == "failed" else "")
        )
    sample.append(db, *events)
    ran = sonde("show", "last")
    assert "tool-300" in ran.out
    assert "tool-501" in ran.out
    assert "tool-250" not in ran.out
    assert len(ran.out.splitlines()) < 80
    hidden = sum(
        int(line.split("⋯ ")[1].split()[0]) for line in ran.out.splitlines() if "⋯ " in line and " more" in line
    )
    shown = ran.out.count(" tool  tool-")
    assert hidden + shown == 500
    assert "--full" in ran.err
    full = sonde("show", "last", "--full")
    assert full.out.count(" tool  tool-") == 500
    assert "--full" not in full.err


def test_a_huge_tree_is_bounded(db: Path, sonde: Any, sample: Any) -> None:
    """A tree of thousands of lines stops at some 400 and says on stderr how to see more."""
    events = [sample.started("session", 1)]
    for task in range(100, 140):
        events.append(sample.ended("task", task, 1, title=f"task-{task}"))
        events += [sample.ended("tool", task * 1000 + n, task, tool="t") for n in range(50)]
    sample.append(db, *events)
    ran = sonde("show", "last")
    assert 390 < len(ran.out.splitlines()) < 420
    assert "--full" in ran.err


def test_the_last_error_is_not_cut_alone(db: Path, sonde: Any, sample: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bound leaves one line out, that line is shown instead of a word about it."""
    monkeypatch.setattr("sonde.cli.tree.MAX_LINES", 2)
    sample.append(
        db,
        sample.started("session", 1),
        sample.started("tool", 2, 1, tool="t"),
        sample.ended("tool", 2, 1, how="failed", tool="t", error="it broke"),
        sample.ended("session", 1, how="ended"),
    )
    ran = sonde("show", "last")
    assert "it broke" in ran.out
    assert "⋯" not in ran.out
    assert ran.err == ""


def test_depth_of_thousands_overflows_nothing(db: Path, sonde: Any, sample: Any) -> None:
    """A chain of 3,000 nested operations is shown, with the depth in numbers where guides would fill the screen."""
    sample.append(db, *(sample.ended("task", n, n - 1, title=f"t{n}") for n in range(1, 3001)))
    ran = sonde("show", "last", "--full")
    assert ran.code == 0
    assert "t3000" in ran.out
    assert "⋯2999" in ran.out


def test_recorded_text_cannot_steer_the_terminal(db: Path, sonde: Any, sample: Any) -> None:
    """Escape sequences in names, errors and data are shown, not obeyed, in the tree and in --span."""
    evil = "\x1b]0;owned\x07\x1b[31m\u202e"
    sample.append(db, sample.ended("tool", 1, how="failed", tool=evil, error=evil, error_type=evil, args={evil: evil}))
    for arguments in (("show", "last"), ("show", "last", "--span", sample.span(1)), ("show", "last", "--events")):
        shown = sonde(*arguments).out
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
        assert "\\x1b" in shown


def test_lines_fit_a_narrow_terminal(recorded: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60 columns nothing runs over."""
    monkeypatch.setenv("COLUMNS", "60")
    assert max(len(line) for line in sonde("show", "last").out.splitlines()) <= 60


def test_the_original_s_sessions_are_shown(sonde: Any, original: Any) -> None:
    """A database of the Go original is shown as a tree, too: operations without spans are paired."""
    ran = sonde("show", "s-alpha", "--db", original("telemetry.db"))
    assert ran.code == 0
    assert "✗ tool  write_file" in ran.out


def test_a_gap_without_session_events_is_shown(db: Path, sonde: Any, sample: Any) -> None:
    """A session that is nothing but a gap still says what is missing."""
    sample.append(db, Event("sonde.gap", 10**18, "s", data={"missed": 3, "reasons": {"overloaded": 2, "failed": 1}}))
    assert "3 events missed here: overloaded 2, failed 1" in sonde("show", "last").out


def test_colour_is_sparing(recorded: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the sign has the status's colour, the name stands out, and the rest steps back."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("COLUMNS", "100")):
        monkeypatch.setenv(name, value)
    shown = sonde("show", "last").out
    assert "\x1b[32m✓\x1b[0m\x1b[2m tool\x1b[0m\x1b[1m  read_file\x1b[0m" in shown
    assert "\x1b[1;31m✗\x1b[0m" in shown


def test_no_color_is_heeded(recorded: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR no colour is used, terminal or not."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    shown = sonde("show", "last").out
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)
    assert "✗" in shown


def test_a_command_is_shown_with_its_peak_memory(db: Path, sonde: Any, sample: Any) -> None:
    """In its line and in the header; where none is on record, nothing is claimed."""
    sample.append(
        db,
        sample.started("session", 1),
        sample.started("shell", 2, 1, at_s=0.1, command=["make"]),
        sample.ended("shell", 2, 1, at_s=1.1, command=["make"], duration_s=1.0, max_rss_bytes=23 * 1024**2),
        sample.started("shell", 3, 1, at_s=1.2, command=["true"]),
        sample.ended("shell", 3, 1, at_s=1.3, command=["true"], duration_s=0.1),
        sample.ended("session", 1, how="ended", at_s=2.0, status="completed", duration_s=2.0),
    )
    ran = sonde("show", "fix-42")
    assert "peak memory 23.0 MiB" in ran.out.partition("\n\n")[0]
    make, true = tree_of(ran).splitlines()[1:]
    assert make.endswith("make  1.00 s  23.0 MiB")
    assert true.endswith("true  100 ms")


def test_a_session_that_another_began_lacks_nothing(db: Path, sonde: Any, sample: Any) -> None:
    """Its root's parent is in another session: no remark; one inside it whose parent is lost has one."""
    sample.append(
        db,
        sample.started("session", 1, session="outer"),
        sample.started("session", 2, 1, session="inner", at_s=0.1),
        sample.started("tool", 3, 99, session="inner", at_s=0.2, tool="search"),
        sample.ended("tool", 3, 99, session="inner", at_s=0.3, tool="search"),
        sample.ended("session", 2, 1, how="ended", session="inner", at_s=0.4, status="completed"),
    )
    root, tool = tree_of(sonde("show", "inner")).splitlines()
    assert "not on record" not in root
    assert "(what it lay in is not on record)" in tool
