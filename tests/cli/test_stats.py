"""``sonde stats``: sums that can be checked by hand, of one session and of all."""

import os
import pty
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sonde.cli.stats_documents import EventTypeDocument, ModelDocument, OperationKindDocument, TotalDocument
from sonde.events import Event

DOCUMENTS = {
    "total": TotalDocument,
    "event_type": EventTypeDocument,
    "operation": OperationKindDocument,
    "model": ModelDocument,
}


@pytest.fixture
def two(db: Path, sample: Any) -> Path:
    """Two sessions alike."""
    sample.append(db, *sample.agent_run("one"), writer_id="a")
    sample.append(db, *sample.agent_run("two", at_s=100.0), writer_id="b")
    return db


def by_record(ran: Any, record: str) -> list[dict[str, Any]]:
    return [document for document in ran.documents if document["record"] == record]


def test_documents_have_the_promised_fields(two: Path, sonde: Any) -> None:
    """--json prints the total first, then event types, operations and models, each with its documented fields."""
    documents = sonde("stats", "--json").documents
    assert documents[0]["record"] == "total"
    for document in documents:
        assert list(document) == list(DOCUMENTS[document["record"]].__struct_fields__)


def test_all_sessions_add_up(two: Path, sonde: Any) -> None:
    """Without SESSION everything in the store is in the sums."""
    ran = sonde("stats", "--json")
    (total,) = by_record(ran, "total")
    assert (total["sessions"], total["events"], total["operations"], total["failures"]) == (2, 24, 8, 2)
    assert total["missed"] == 24
    assert total["tokens"] == {"input_tokens": 2400, "output_tokens": 680}
    assert total["cost_usd"] == total["cost_reported_usd"] == 0.24
    assert total["cost_computed_usd"] is None
    (model,) = by_record(ran, "model")
    assert (model["model"], model["tokens"], model["cost_usd"]) == ("gpt-5", total["tokens"], 0.24)
    counts = {document["type"]: document["count"] for document in by_record(ran, "event_type")}
    assert counts["tool.started"] == 4
    assert sum(counts.values()) == 24


def test_one_session_alone(two: Path, sonde: Any) -> None:
    """With SESSION only that one is added up."""
    (total,) = by_record(sonde("stats", "two", "--json"), "total")
    assert (total["sessions"], total["events"]) == (1, 12)


def test_percentiles_across_sessions(db: Path, sonde: Any, sample: Any) -> None:
    """Durations are exact over all sessions together, not averages of averages."""
    for number, name in enumerate(("a", "b")):
        ends = [
            sample.ended("tool", number * 100 + n, session=name, tool="t", duration_s=float(number * 50 + n))
            for n in range(1, 51)
        ]
        sample.append(db, *ends, writer_id=name)
    (tool,) = by_record(sonde("stats", "--json"), "operation")
    assert (tool["count"], tool["timed"], tool["sum_s"]) == (100, 100, 5050.0)
    assert (tool["p50_s"], tool["p90_s"], tool["p99_s"], tool["max_s"]) == (50.0, 90.0, 99.0, 100.0)


def test_cost_by_where_it_comes_from(db: Path, sonde: Any, sample: Any) -> None:
    """Reported, computed and unknown costs stay apart, and unknown ones are hinted at on stderr."""

    def call(number: int, **data: Any) -> Any:
        return sample.ended("model", number, model="m", input_tokens=1, **data)

    sample.append(
        db, call(1, cost_usd=0.5, cost_source="reported"), call(2, cost_usd=0.25, cost_source="computed"), call(3)
    )
    ran = sonde("stats", "--json")
    (model,) = by_record(ran, "model")
    assert (model["cost_reported_usd"], model["cost_computed_usd"], model["cost_unknown_calls"]) == (0.5, 0.25, 1)
    assert "1 model call is unknown" in ran.err
    shown = sonde("stats").out
    assert "≥ $0.75" in shown
    assert "$0.50 reported, $0.25 computed, 1 call unknown" in shown


def test_tables_for_a_person(two: Path, sonde: Any) -> None:
    """The tables have counts, failures and durations by kind and name."""
    shown = sonde("stats", "--no-plots").out
    assert shown.startswith("2 sessions · 24 events · 8 operations in them · 2 failed · 24 events missed\n")
    row = next(line for line in shown.splitlines() if line.startswith("tool write_file"))
    assert row.split() == ["tool", "write_file", "2", "2", "200", "ms", "200", "ms", "200", "ms", "200", "ms"]


def test_runs_are_told_from_sessions(db: Path, sonde: Any, sample: Any) -> None:
    """A session that was recorded twice is one with two runs, which are no operations in it."""
    sample.append(db, *sample.agent_run(), *sample.agent_run(at_s=10, first_span=11))
    shown = sonde("stats", "--no-plots").out
    assert shown.startswith("1 session (2 runs) · 24 events · 8 operations in them · ")
    assert next(line for line in shown.splitlines() if line.startswith("session")).split()[1] == "2"


def test_long_tables_are_cut(db: Path, sonde: Any, sample: Any) -> None:
    """Twenty rows a table, and a note of how many more there are; --full shows them."""
    sample.append(db, *(sample.ended("tool", n, tool=f"tool-{n:02}") for n in range(1, 31)))
    assert "⋯ 10 more" in sonde("stats").out
    assert "tool-30" not in sonde("stats").out
    assert "tool-30" in sonde("stats", "--full").out


def test_lines_fit_a_narrow_terminal(two: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 60 columns nothing runs over."""
    monkeypatch.setenv("COLUMNS", "60")
    assert max(len(line) for line in sonde("stats").out.splitlines()) <= 60


def durations(sample: Any, *durations_s: float, tool: str = "t", first: int = 1) -> list[Event]:
    return [
        sample.ended("tool", number, tool=tool, duration_s=duration_s)
        for number, duration_s in enumerate(durations_s, first)
    ]


def line_of(shown: str, start: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith(start))


def test_distributions_share_one_axis(db: Path, sonde: Any, sample: Any) -> None:
    """Each row has its durations on an axis from the shortest to the longest of all rows, which is explained once."""
    sample.append(db, *durations(sample, 0.001, 0.001, 0.0011, 0.03), *durations(sample, 0.9, 1.0, tool="u", first=9))
    shown = sonde("stats").out
    assert "  @....=......  " in line_of(shown, "tool t")
    assert "  ...........@  " in line_of(shown, "tool u")
    assert shown.count("distributions: 1.00 ms to 1.00 s, each cell ×1.8 the one before") == 1
    for document in by_record(sonde("stats", "--json"), "operation"):
        assert sum(part["count"] for part in document["distribution"]) == document["count"]
        assert (document["distribution"][0]["from_s"], document["distribution"][-1]["to_s"]) == (0.001, 1.0)


def test_durations_of_nothing_and_of_zero(db: Path, sonde: Any, sample: Any) -> None:
    """The original's whole milliseconds are often 0: they lie in the first cell. What has not ended lies in none."""
    sample.append(db, *durations(sample, 0.0, 0.5, 2.0), sample.started("tool", 9, tool="open"))
    by_name = {document["name"]: document for document in by_record(sonde("stats", "--json"), "operation")}
    assert [part["count"] for part in by_name["t"]["distribution"]] == [2, *[0] * 10, 1]
    assert by_name["open"]["distribution"] == []


def test_share_of_time(two: Path, sonde: Any) -> None:
    """The durations of a kind and name over the time of all sessions, as a bar and a figure."""
    by_name = {document["name"]: document for document in by_record(sonde("stats", "--json"), "operation")}
    assert by_name["write_file"]["time_ratio"] == pytest.approx(0.4 / 4.0)
    assert line_of(sonde("stats").out, "tool write_file").endswith("#.......  10 %")
    (total,) = by_record(sonde("stats", "--json"), "total")
    assert total["session_s"] == 4.0


def test_no_time_has_no_shares(db: Path, sonde: Any, sample: Any) -> None:
    """A store whose events all have one time has no part of it to give, and no line of events over time."""
    sample.append(db, *durations(sample, 0.5))
    (tool,) = by_record(sonde("stats", "--json"), "operation")
    assert tool["time_ratio"] is None
    assert by_record(sonde("stats", "--json"), "total")[0]["events_over_time"] == []
    assert "a cell, at most" not in sonde("stats").out


def test_events_over_time(db: Path, sonde: Any, sample: Any) -> None:
    """A line shows when the events of a session came; in JSON it is 60 parts that touch each other."""
    start_ns = 1_770_802_200 * 10**9
    times_ns = [start_ns, *[start_ns + 2_999_000_000] * 5, start_ns + 6_000_000_000]
    sample.append(db, *(Event("tick", time_ns, "s") for time_ns in times_ns))
    line = sonde("stats", "s").out.splitlines()[1]
    assert line.endswith("  over 6.00 s, 100 ms a cell, at most 5 events")
    drawn = line.partition(" ")[0]
    assert drawn == "-" + "." * 28 + "@" + "." * 29 + "-"
    (total,) = by_record(sonde("stats", "--json"), "total")
    parts = total["events_over_time"]
    assert (len(parts), parts[0]["from_ns"], sum(part["count"] for part in parts)) == (60, start_ns, 7)
    assert all(one["to_ns"] == other["from_ns"] for one, other in pairwise(parts))


def call(sample: Any, number: int, model: str, *, latency_s: float = 1.0, **data: Any) -> list[Event]:
    at_s = float(number)
    return [
        sample.started("model", number, at_s=at_s, model=model),
        sample.ended("model", number, at_s=at_s + latency_s, model=model, duration_s=latency_s, **data),
    ]


def test_how_quick_models_are(db: Path, sonde: Any, sample: Any) -> None:
    """Latency and time to the first token as percentiles, and tokens a second, of the calls that state them."""
    for number in range(1, 11):
        sample.append(
            db,
            *call(
                sample, number, "m", latency_s=float(number), ttft_s=number / 10, output_tokens=30 * number,
                reasoning_tokens=10 * number,
            ),
            first_seq=number * 10,
        )  # fmt: skip
    sample.append(db, *call(sample, 90, "m", latency_s=99.0), first_seq=500)  # states neither, and makes none slower
    sample.append(db, sample.started("model", 91, model="never ends"), first_seq=510)
    models = {document["model"]: document for document in by_record(sonde("stats", "--json"), "model")}
    found = models["m"]
    assert (found["calls"], found["timed"], found["p50_s"], found["max_s"]) == (11, 11, 6.0, 99.0)
    assert (found["ttft_timed"], found["ttft_p50_s"], found["ttft_p90_s"], found["ttft_p99_s"]) == (10, 0.5, 0.9, 1.0)
    assert found["tokens_per_s"] == 40.0
    assert sum(part["count"] for part in found["distribution"]) == 11
    open_one = models["never ends"]
    assert (open_one["calls"], open_one["timed"], open_one["distribution"]) == (1, 0, [])
    assert open_one["tokens_per_s"] is None
    shown = sonde("stats").out
    head = shown.splitlines().index(line_of(shown, "MODEL       CALLS"))
    assert "TTFT P50  TTFT P90  TTFT P99  TOKENS/S  LATENCY" in shown.splitlines()[head]
    assert "500 ms    900 ms    1.00 s        40  " in shown.splitlines()[head + 1]


def test_shares_of_tokens_and_cost(db: Path, sonde: Any, sample: Any) -> None:
    """With several models each has its part of all tokens and of the known cost; an unknown cost has none."""
    sample.append(
        db,
        *call(sample, 1, "a", input_tokens=300, cost_usd=0.01),
        *call(sample, 2, "b", input_tokens=100, cost_usd=0.03),
        *call(sample, 3, "c", input_tokens=100),
    )
    models = {document["model"]: document for document in by_record(sonde("stats", "--json"), "model")}
    assert [models[name]["tokens_ratio"] for name in "abc"] == [0.6, 0.2, 0.2]
    assert [models[name]["cost_ratio"] for name in "abc"] == [0.25, 0.75, None]
    shown = sonde("stats").out
    assert "#####...  60 %   ##......  25 %" in line_of(shown, "a ")
    assert line_of(shown, "c ").endswith("-")


@pytest.mark.parametrize(
    ("columns", "as_if"),
    [("0", None), ("", None), ("-5", None), ("wide", None), ("000", None), ("1", "30"), ("29", "30")],
)
def test_a_width_that_is_none_is_passed_over(
    two: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch, columns: str, as_if: str | None
) -> None:
    """COLUMNS that is 0 or no number is as if unset, and what is too small to show anything is as 30."""
    commands = (("stats",), ("sessions",), ("show", "last"), ("metrics",), ("doctor",))
    monkeypatch.setenv("COLUMNS", columns)
    shown = [sonde(*command).out.splitlines()[:3] for command in commands]
    if as_if is None:
        monkeypatch.delenv("COLUMNS")
    else:
        monkeypatch.setenv("COLUMNS", as_if)
    assert all(shown)
    assert shown == [sonde(*command).out.splitlines()[:3] for command in commands]


def test_without_plots(two: Path, sonde: Any) -> None:
    """--no-plots leaves figures and words."""
    shown = sonde("stats", "--no-plots").out
    assert not any(word in shown for word in ("DURATIONS", "SHARE", "LATENCY", "a cell", "distributions"))


@pytest.mark.parametrize("width", [30, 40, 60, 72, 80, 84, 100, 132, 200])
def test_lines_fit_every_terminal(two: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No line runs over, and the median is there from 60 columns on, the distribution from 72 on."""
    monkeypatch.setenv("COLUMNS", str(width))
    shown = sonde("stats").out
    assert max(len(line) for line in shown.splitlines()) <= max(width, 40)
    assert ("P50" in shown) or width < 60
    assert ("DURATIONS" in shown) or width < 72


def in_terminal(*arguments: str, **environment: str) -> str:
    """What the command shows on a terminal of 100 columns."""
    master, slave = pty.openpty()
    variables = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    with os.fdopen(master, "rb", buffering=0) as terminal:
        process = subprocess.Popen([sys.executable, "-m", "sonde", *arguments], stdout=slave, env=variables)
        os.close(slave)
        shown = b""
        try:
            while part := terminal.read(4096):
                shown += part
        except OSError:  # Linux' way to say that nobody has the other end any more
            pass
        assert process.wait(30) == 0
    return shown.decode()


def test_blocks_on_a_terminal(two: Path) -> None:
    """A terminal that has them gets blocks and colours; NO_COLOR leaves the blocks."""
    shown = in_terminal("stats")
    assert "█" in shown
    assert "\x1b[36m" in shown
    plain = in_terminal("stats", NO_COLOR="1")
    assert "█" in plain
    assert "\x1b[3" not in plain


@pytest.mark.parametrize("poor", [{"PYTHONIOENCODING": "ascii"}, {"TERM": "linux"}, {"TERM": "dumb"}])
def test_plain_characters_on_a_poor_terminal(two: Path, poor: dict[str, str]) -> None:
    """One without UTF-8 or without the blocks gets ASCII plots."""
    shown = in_terminal("stats", **poor)
    assert "...@" in shown
    assert "█" not in shown


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
@pytest.mark.parametrize("arguments", [["stats"], ["show", "one"], ["sessions"], ["doctor"]])
def test_output_without_utf_8(two: Path, arguments: list[str], encoding: str) -> None:
    """Where the output is not UTF-8 each command writes the nearest characters that it has, instead of failing."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "sonde", *arguments], env=environment, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not set(done.stdout.decode(encoding)) & {"?", "\\"}


def test_the_original_s_tokens_count(sonde: Any, original: Any) -> None:
    """tokens.updated and cost.updated of a database of the Go original are in the sums."""
    (total,) = by_record(sonde("stats", "--json", "--db", original("telemetry.db")), "total")
    assert total["sessions"] == 2
    assert total["events"] == 380
    assert total["tokens"]["input_tokens"] > 0
    assert total["cost_usd"] > 0
