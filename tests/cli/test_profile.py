"""``sonde profile``: where a program spent its time, for people, programs and other viewers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sonde.cli.flame import FlameNode, cells_of, flame_of, without_stems
from sonde.cli.flame_svg import flame_svg
from sonde.cli.flame_text import flame_lines
from sonde.cli.profile_text import profile_text
from sonde.events import Event
from sonde.profiling import ChunkWriter, Frame, Profile, Sample, ValueType, from_pprof, labels_of
from sonde.store import Record, SQLiteStore

NS = 1_000_000_000
BEGAN_NS = 1_770_802_200 * NS
TYPES = (ValueType("samples", "count"), ValueType("wall", "nanoseconds"), ValueType("cpu", "nanoseconds"))
MAIN, WORK = Frame("main", "/src/agent.py", 30, 25), Frame("work", "/src/agent.py", 12, 10)
PARSE, SEARCH = Frame("parse", "/lib/json.py", 7, 5), Frame("search", "/lib/grep.py", 9, 8)
HOSTILE = '</text><script>alert("1")</script>&\x1b[31m\x00\ud800\ufffe]]>'
SVG = "{http://www.w3.org/2000/svg}"


def sample(stack: tuple[Frame, ...], cpu_s: float, **labels: str) -> Sample:
    known = {"session": "fix-42", "plan": "none", "task": "none", "operation": "none", "tool": "none"}
    return Sample(stack, (round(cpu_s * 20) or 1, round(cpu_s * 2 * NS), round(cpu_s * NS)), labels_of(known | labels))


def profile_of(*samples: Sample) -> Profile:
    return Profile(
        sample_types=TYPES,
        samples=samples,
        period_type=TYPES[1],
        period=50_000_000,
        time_ns=BEGAN_NS,
        duration_ns=10 * NS,
        default_sample_type="wall",
    )


def known() -> Profile:
    grep = {"tool": "grep", "operation": "tool grep", "task": "t-1", "thread": "MainThread"}
    model = {"tool": "read_file", "operation": "model gpt-x", "task": "t-1", "thread": "worker"}
    return profile_of(
        sample((PARSE, WORK, MAIN), 6.0, **model),
        sample((WORK, MAIN), 1.0, **{**model, "operation": "tool read_file"}),
        sample((SEARCH, WORK, MAIN), 2.0, **grep),
        sample((MAIN,), 1.0, thread="MainThread"),
    )


def write(db: Path, *profiles: Profile) -> None:
    writer = ChunkWriter()
    events = [
        Event("session.started", BEGAN_NS, "fix-42", data={"pid": 1}, span_id="1" * 16),
        Event("task.started", BEGAN_NS, "fix-42", task_id="t-1", data={"title": "Fix the parser"}, span_id="2" * 16),
        *(
            Event("sonde.profile", BEGAN_NS + NS, "fix-42", data=writer.write(one, max_bytes=60_000))
            for one in profiles
        ),
    ]
    with SQLiteStore(db) as store:
        store.append_batch([Record("fix-42", "w", seq, event) for seq, event in enumerate(events, 1)])


@pytest.fixture
def profiled(db: Path) -> Path:
    """The session ``fix-42`` with a profile: 7 s in read_file, 2 s in grep, 1 s in none."""
    write(db, known())
    return db


def test_tables_and_a_flame_graph(profiled: Path, sonde: Any) -> None:
    """A header, the tools, the functions, and a graph in ASCII where the output is piped."""
    ran = sonde("profile", "last")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "profile of fix-42"
    assert lines[1] == "10.0 s profiled · 200 samples · 20 looks a second · 10.0 s of CPU · 90% of CPU time in tools"
    assert re.search(r"^read_file +#+\.* +70 % +7\.00 s +14\.0 s +140$", ran.out, re.MULTILINE)
    assert re.search(r"^grep +#+\.* +20 % +2\.00 s", ran.out, re.MULTILINE)
    assert re.search(r"^parse  lib/json\.py:5 +6\.00 s +60% +6\.00 s +60%$", ran.out, re.MULTILINE)
    assert re.search(r"^main  src/agent\.py:25 +1\.00 s +10% +10\.0 s +100%$", ran.out, re.MULTILINE)
    graph = lines[lines.index("FLAME GRAPH, BY TOOL") + 1 :]
    assert re.fullmatch(r"\|read_file 70%-+\|grep 20%-+\|\(tool: none.*", graph[0])
    assert re.match(r"\|main-+\|", graph[1])
    assert all(line.isascii() and len(line) <= 120 for line in graph)
    widths = [len(cell) for cell in graph[0].split("|")[1:]]
    assert abs(widths[0] / sum(widths) - 0.7) < 0.03


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("operation", ["model gpt-x", "tool grep", "none", "tool read_file"]),
        ("task", ["Fix the parser", "none"]),
        ("thread", ["worker", "MainThread"]),
        ("session", ["fix-42"]),
    ],
)
def test_by_what_else(profiled: Path, sonde: Any, by: str, names: list[str]) -> None:
    """--by divides the same time among operations, tasks (by title), threads or sessions, the largest first."""
    rows = sonde("profile", "fix-42", "--by", by, "--json").documents
    groups = [row for row in rows if row["record"] == "group"]
    assert sorted(row["name"] for row in groups) == sorted(names)
    assert groups[0]["name"] == names[0]
    assert sum(row["time_ratio"] for row in groups) == pytest.approx(1)


def test_json_is_a_document_a_row(profiled: Path, sonde: Any) -> None:
    """The profile first, then groups, then functions; numbers are those of the samples."""
    first, *rest = sonde("profile", "fix-42", "--json").documents
    assert first == {
        "record": "profile",
        "session_id": "fix-42",
        "started": "2026-02-11T09:30:00Z",
        "started_ns": BEGAN_NS,
        "duration_s": 10.0,
        "events": 1,
        "samples": 200,
        "rate_hz": 20.0,
        "cpu_s": 10.0,
        "wall_s": 20.0,
        "time": "cpu",
        "tool_ratio": 0.9,
        "omitted_samples": 0,
        "lost_samples": 0,
    }
    assert [row["record"] for row in rest] == ["group"] * 3 + ["function"] * 4
    parse = next(row for row in rest if row.get("function") == "parse")
    assert (parse["file"], parse["line"], parse["self_s"], parse["cumulative_ratio"]) == ("/lib/json.py", 5, 6.0, 0.6)


def test_filters_keep_the_samples_that_have_all_of_it(profiled: Path, sonde: Any) -> None:
    """A tool, an operation and a task (by title or id) may be combined; the header says so."""
    for filters, cpu_s in (
        (("--tool", "read_file"), 7.0),
        (("--operation", "model gpt-x"), 6.0),
        (("--task", "Fix the parser"), 9.0),
        (("--task", "t-1", "--tool", "grep"), 2.0),
    ):
        assert sonde("profile", "fix-42", "--json", *filters).documents[0]["cpu_s"] == cpu_s
    assert "profile of fix-42, only tool 'grep'" in sonde("profile", "fix-42", "--tool", "grep").out
    wall = sonde("profile", "fix-42", "--time", "wall", "--json").documents
    assert wall[0]["time"] == "wall"
    assert next(row for row in wall if row["record"] == "function")["self_s"] == 12.0


def test_what_is_not_there_is_said_with_what_to_do(profiled: Path, sonde: Any) -> None:
    """An empty filter names what there is, a session without a profile how to get one, an unknown one what is near."""
    ran = sonde("profile", "fix-42", "--tool", "greb")
    assert (ran.code, ran.out) == (2, "")
    assert "no sample has tool 'greb'; expected one of 'read_file', 'grep', 'none'" in ran.err
    both = sonde("profile", "fix-42", "--tool", "grep", "--operation", "model gpt-x")
    assert "at once; leave one of them out" in both.err
    with SQLiteStore(profiled) as store:
        store.append("plain", [Event("session.started", BEGAN_NS, "plain")])
    plain = sonde("profile", "plain")
    assert plain.code == 2
    assert (
        "it holds no sample. Either nobody asked for one (sonde.record(profile=True), SONDE_PROFILE=1, or" in plain.err
    )
    assert "or the program ended before the first sample" in plain.err
    unknown = sonde("profile", "fix-43")
    assert unknown.code == 3
    assert "did you mean 'fix-42'" in unknown.err
    missing = sonde("profile", "fix-42", "--flame", profiled.parent / "no" / "f.svg")
    assert missing.code == 3
    assert "there is no folder" in missing.err


def test_files_for_other_viewers(profiled: Path, tmp_path: Path, sonde: Any) -> None:
    """One call writes all of them; each holds the samples that were asked for, and stdout stays empty."""
    paths = {name: tmp_path / name for name in ("f.svg", "p.pb.gz", "s.speedscope.json", "c.txt")}
    options = zip(("--flame", "--pprof", "--speedscope", "--collapsed"), paths.values(), strict=True)
    ran = sonde("profile", "fix-42", "--tool", "read_file", *(part for pair in options for part in pair))
    assert (ran.code, ran.out) == (0, ""), ran.err
    assert [line.split()[0] for line in ran.err.splitlines()] == ["wrote"] * 4
    profile = from_pprof(paths["p.pb.gz"].read_bytes())
    assert profile.total("cpu", tool="read_file") == profile.total("cpu") == 7 * NS
    assert paths["c.txt"].read_text() == (
        "read_file;main (/src/agent.py);work (/src/agent.py) 1000000000\n"
        "read_file;main (/src/agent.py);work (/src/agent.py);parse (/lib/json.py) 6000000000\n"
    )
    speedscope = json.loads(paths["s.speedscope.json"].read_text())
    assert [(one["name"], one["endValue"]) for one in speedscope["profiles"]] == [("read_file", 7 * NS)]
    svg = ElementTree.parse(paths["f.svg"]).getroot()
    titles = [node.text or "" for node in svg.iter(f"{SVG}title")]
    assert "CPU time of session fix-42 by tool, only tool 'read_file'" in titles[0]
    assert "parse\n/lib/json.py:5\n6.00 s, 85.7% of all" in titles


def test_a_dash_is_no_file(profiled: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No option writes a file that is called "-"."""
    monkeypatch.chdir(profiled.parent)
    refused = sonde("profile", "fix-42", "--flame", "-")
    assert (refused.code, refused.out) == (2, "")
    assert "'-' names no file" in refused.err
    assert not Path("-").exists()


def test_pprof_itself_reads_the_file(profiled: Path, tmp_path: Path, sonde: Any) -> None:
    """``go tool pprof`` finds the tool at the root and the function on top; built by the tests of formats."""
    built = sorted((Path(sys.prefix) / ".cache" / "sonde-tests").glob("pprof-go*[0-9]"))
    if not built:
        pytest.skip("go tool pprof is not built yet: tests/concurrency/test_profiling_viewers.py does")
    path = tmp_path / "p.pb.gz"
    assert sonde("profile", "fix-42", "--pprof", path).code == 0
    command = [built[-1], "-sample_index=cpu", "-tagroot=session,tool", "-top", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"6s 60\.00% .* parse\b", told)
    assert re.search(r"7s 70\.00%  read_file", told)
    assert re.search(r"10s   100%  fix-42", told)


def test_an_svg_of_hostile_names_is_well_formed(db: Path, tmp_path: Path, sonde: Any) -> None:
    """Names are text and nothing else: no element, no script, nothing that XML has no place for."""
    stack = (Frame(HOSTILE, HOSTILE, 1, 1), MAIN)
    write(db, profile_of(sample(stack, 5.0, tool=HOSTILE.replace("\0", ""))))
    path = tmp_path / "f.svg"
    assert sonde("profile", "fix-42", "--flame", path).code == 0
    svg = ElementTree.parse(path).getroot()
    assert {element.tag.removeprefix(SVG) for element in svg.iter()} <= {"svg", "style", "title", "rect", "text", "g"}
    titles = [node.text or "" for node in svg.iter(f"{SVG}title")]
    assert any('</text><script>alert("1")</script>&' in title for title in titles)
    assert not re.search("[\x00-\x08\x0b-\x1f\ufffe\uffff]", path.read_text(encoding="utf-8"))
    shown = sonde("profile", "fix-42")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "\x00" not in shown.out
    direct = FlameNode(HOSTILE)
    direct.value = 1
    ElementTree.fromstring(flame_svg(direct, title=HOSTILE, subtitle=HOSTILE, words=str))


def test_an_svg_of_many_and_deep_stacks_stays_small() -> None:
    """What is narrower than half a pixel is left out; 5,000 stacks of 60 frames make a file that a browser takes."""
    samples = [
        Sample(tuple(Frame(f"f{number % 97}_{depth}", "a.py", 1) for depth in range(60)), (1, 1, 1), ())
        for number in range(5_000)
    ]
    root = flame_of(profile_of(*samples), "cpu", by="tool", titles={})
    svg = flame_svg(root, title="t", subtitle="s", words=str)
    assert len(svg) < 3_000_000
    cells = list(cells_of(root, least=0.0005))
    assert all(0 <= cell.left < cell.right <= 1 + 1e-9 for cell in cells)
    assert max(cell.depth for cell in cells) == 61


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("has_colours", [True, False])
def test_graph_lines_fit_the_terminal(width: int, has_colours: bool) -> None:
    """No line is wider than the terminal, wide characters included; colours come with dark text on them."""
    profile = profile_of(
        sample((Frame("読み取り関数", "a.py", 1), MAIN), 3.0, tool="grep"),
        *(sample((Frame(f"tiny_{number}", "b.py", 1), WORK, MAIN), 0.05, tool="many") for number in range(100)),
    )
    lines = list(flame_lines(flame_of(profile, "cpu", by="tool", titles={}), width=width, has_colours=has_colours))
    assert len(lines) >= 3
    assert all(line.cell_len <= width for line in lines)
    assert lines[0].cell_len == width
    styles = {str(span.style) for line in lines for span in line.spans}
    assert all(style.startswith("color(16) on ") for style in styles)
    assert bool(styles) is has_colours


def test_stems_are_left_out_and_nothing_else() -> None:
    """Frames that all stacks of a tool share go, but for two; widths stay, and what branches stays whole."""
    deep = tuple(Frame(f"stem_{number}", "a.py", 1) for number in range(9))
    profile = profile_of(
        sample((PARSE, *deep), 1.0, tool="a"), sample((SEARCH, *deep), 2.0, tool="a"), sample((), 1.0, tool="b")
    )
    root = without_stems(flame_of(profile, "cpu", by="tool", titles={}))
    names = [(cell.depth, cell.node.name) for cell in cells_of(root, least=0)]
    assert names == [(0, "all"), (1, "a"), (1, "b"), (2, "stem_1"), (3, "stem_0"), (4, "search"), (4, "parse")]


def test_other_commands_say_a_profile_event_in_a_few_words(profiled: Path, sonde: Any) -> None:
    """Tail and show print how many samples of how long, not tables of numbers; sessions and stats count it."""
    assert sonde("tail", "-n", 1).out.rstrip().endswith("sonde.profile  200 samples of 10.0 s")
    assert "sonde.profile  200 samples of 10.0 s" in sonde("show", "fix-42", "--events").out
    assert "sonde.profile" not in sonde("show", "fix-42").out
    assert sonde("sessions").code == sonde("stats").code == 0
    assert profile_text({"sample_types": [["samples", "count"]], "rows": ["x"] * 3, "duration_ns": 1}) == ""


RECORDING = """
import time, sonde
with sonde.record() as rec, rec.tool("count"):
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        pass
"""


def test_run_with_profile_profiles_a_program_that_records(db: Path, sonde: Any) -> None:
    """The child records its profile into the session; the note names the command that shows it."""
    ran = sonde("run", "--session", "r", "--profile", "--", sys.executable, "-c", RECORDING)
    assert ran.code == 0, ran.err
    assert "profile r" in ran.err
    assert "no profile" not in ran.err
    groups = [row for row in sonde("profile", "r", "--json").documents if row["record"] == "group"]
    assert groups[0]["name"] == "count"


def test_two_formats_in_one_file_are_refused(profiled: Path, tmp_path: Path, sonde: Any) -> None:
    """The second would silently replace the first; nothing is written."""
    path = str(tmp_path / "both")
    refused = sonde("profile", "fix-42", "--flame", path, "--pprof", path)
    assert refused.code == 2
    assert f"cannot write two formats to {path!r}" in refused.err
    assert not Path(path).exists()


@pytest.mark.parametrize("option", ["--flame", "--pprof", "--speedscope", "--collapsed"])
@pytest.mark.parametrize("name", ["runs.db", "runs.db-wal", "runs.db-lock", "runs.db-live/x.svg", "link.db", "hard.db"])
def test_the_store_is_never_written_over(profiled: Path, sonde: Any, option: str, name: str) -> None:
    """No option writes over the store, whatever it is called there, or over what lies beside it."""
    profiled.with_name("link.db").symlink_to(profiled)
    profiled.with_name("hard.db").hardlink_to(profiled)
    for db in (str(profiled), f"sqlite://{profiled}"):
        refused = sonde("profile", "fix-42", "--db", db, option, profiled.parent / name)
        assert (refused.code, refused.out) == (2, "")
        assert "is the store itself, or lies beside it" in refused.err
    profiled.with_name("hard.db").unlink()
    assert sonde("doctor").code == 0
    assert not profiled.with_name("runs.db-wal").exists()


@pytest.mark.parametrize("arguments", [("--profile",), ()])
def test_run_says_where_a_profile_cannot_come_from(
    db: Path, sonde: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """A program that records nothing has no profile, and sonde run never profiles itself in its place."""
    monkeypatch.setenv("SONDE_PROFILE", "1")
    ran = sonde("run", "--session", "r", *arguments, "--", sys.executable, "-c", "print(1)")
    assert ran.code == 0
    assert ("no profile was recorded: --profile is for Python programs that call sonde.record()" in ran.err) is bool(
        arguments
    )
    assert sonde("profile", "r").code == 2
