"""The report of the fault suite: what happened, what was promised, what was seen; a table in docs/guarantees.md.

A test tells of its fault by ``fault_report(fault="…", promised="…", seen=…)``, with both texts written out in the call
itself, which stands in the test function itself: so a fault whose test fails, or is skipped, is known all the same.
``seen`` is a text, or numbers by name, as in ``{"kills": 1, "worst wait: {} ms": 3}``: they are summed over the runs of
a test, and of names that begin with "worst" or "most" the largest is taken.

The table is of one commit, which it names, and of all tests in the files that were run: options that leave out some of
these leave the page as it was. A new fault gets a row by hand, which says that it was not run yet.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
BEGIN, END = "<!-- fault report: begin -->", "<!-- fault report: end -->"
HEADER = "| what happened | what was promised | what was seen | test |\n|---|---|---|---|"
OPTION = "--write-fault-report"
NOT_RUN = "not run yet: newer than this table"
"""What a row says was seen that was added by hand, with its test, so that the page lists every fault."""
_OPEN = "…"

Seen = str | Mapping[str, float]
Told = Callable[..., None]


@dataclass(frozen=True, order=True)
class Declaration:
    """A call of ``fault_report`` as it stands in a test's source, in the order of files and lines."""

    path: str
    line: int
    test: str
    fault: str
    promised: str

    @property
    def test_id(self) -> str:
        return f"{self.path}::{self.test}"

    def is_fault(self, fault: str) -> bool:
        """Whether the call may have told of this one: an open text stands for many."""
        return bool(re.fullmatch(".+".join(map(re.escape, self.fault.split(_OPEN))), fault))


def declarations(root: Path = ROOT) -> list[Declaration]:
    """Every fault that a test tells of; a call whose texts are not written out in it has empty ones."""
    found = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "fault_report(" in text:
            found += [
                Declaration(path.relative_to(root).as_posix(), node.lineno, function, *_texts(node))
                for function, node in _calls(ast.parse(text))
            ]
    return sorted(found)


def _calls(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """The calls, each with the name of the function on the module's top level that it is in."""
    return [
        (function.name, node)
        for function in tree.body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "fault_report"
    ]


def _texts(call: ast.Call) -> tuple[str, str]:
    given = {word.arg: word.value for word in call.keywords}
    return _text(given.get("fault")), _text(given.get("promised"))


def _text(node: ast.expr | None) -> str:
    """A text as it stands there; what an f-string puts in is ``…``; empty if it is something else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or _OPEN for part in node.values)
    return ""


@dataclass
class Outcome:
    """How the runs of one test function went."""

    ended: Counter[str] = field(default_factory=Counter)
    reasons: set[str] = field(default_factory=set)


class FaultReport:
    """Collects what tests saw, and writes the table. A plugin of pytest's."""

    def __init__(self, *, is_written: bool) -> None:
        self._is_written = is_written
        self._began = datetime.now(UTC)
        self._began_s = time.monotonic()
        self._numbers: dict[tuple[str, str], dict[str, float]] = {}
        self._texts: dict[tuple[str, str], dict[str, None]] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._ended: Counter[str] = Counter()
        self._commit = commit() if is_written else ""
        self._kept_because = ""

    @pytest.fixture
    def fault_report(self, request: pytest.FixtureRequest) -> Told:
        """``fault_report(fault="…", promised="…", seen=…)``: a row of the report, see :mod:`tests.fault_report`."""
        test_id = _function_id(request.node.nodeid)

        def tell(*, fault: str, promised: str, seen: Seen) -> None:
            assert fault, "a fault has a name"
            assert promised, "a fault is told with what was promised"
            self.add(test_id, fault, seen)

        return tell

    def add(self, test_id: str, fault: str, seen: Seen) -> None:
        """Take in what one run of a test saw."""
        if isinstance(seen, str):
            self._texts.setdefault((test_id, fault), {})[seen] = None
            return
        numbers = self._numbers.setdefault((test_id, fault), {})
        for name, number in seen.items():
            most = name.startswith(("worst ", "most "))
            before = numbers.get(name, 0)
            numbers[name] = max(before, number) if most else before + number

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what passed, failed and was skipped, by test function."""
        if report.when != "call" and not (report.failed or report.skipped):
            return
        self._ended[report.outcome] += 1
        outcome = self._outcomes.setdefault(_function_id(report.nodeid), Outcome())
        outcome.ended[report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            outcome.reasons.add(str(report.longrepr[2]).removeprefix("Skipped: "))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the table, at the end of a run of whole files that was asked for it and was not broken off."""
        if not self._is_written:
            return
        left_out = [f"{option} was given" for option in narrowing(session.config)]
        if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            left_out.append("the run was broken off")
        self._kept_because = ", ".join(left_out)
        if not left_out:
            write(PAGE, self.text(" ".join(session.config.args), is_sample=bool(session.config.option.markexpr)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say so if the page stays as it was."""
        if self._kept_because:
            terminalreporter.write_line(f"{PAGE.relative_to(ROOT)} is left as it was: {self._kept_because}")

    def text(self, place: str, *, is_sample: bool = False) -> str:
        """The table of what was run, with the line above it."""
        lines = [
            f"| {_cell(told.fault)} | {_cell(told.promised)} | {_cell(self._seen(told))} | `{told.test_id}` |"
            for one in declarations()
            if one.test_id in self._outcomes
            for told in self._told(one)
        ]
        return "\n".join([self._head(place, is_sample=is_sample), "", HEADER, *lines])

    def _head(self, place: str, *, is_sample: bool) -> str:
        import apsw

        took_s = time.monotonic() - self._began_s
        places = "" if place in ("", "tests src/sonde") else f" (of {place})"
        failed = self._ended["failed"]
        kind = "run, a sample" if is_sample else "full run"
        at_end = commit() if self._commit else ""
        of = f"commit {self._commit}{f' and then {at_end}' if at_end != self._commit else ''}, " if self._commit else ""
        return (
            f"The last {kind}{places}: {self._began:%Y-%m-%d %H:%M} UTC, {of}sonde {metadata.version('sonde')}, "
            f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
            f"{platform.system()} {platform.release().split('-')[0]}, {os.cpu_count()} cores: "
            f"{self._ended['passed']:,} tests passed, {failed:,} failed, {self._ended['skipped']:,} were skipped, "
            f"in {took_s / 60:.1f} minutes.\n"
            "Rows are in the order of the tests' files, and in a file of its lines."
        )

    def _told(self, one: Declaration) -> list[Declaration]:
        """One for each fault that a call with an open text told of."""
        faults = {fault: None for test, fault in (*self._numbers, *self._texts) if test == one.test_id}
        return [replace(one, fault=fault) for fault in faults if one.is_fault(fault)] or [one]

    def _seen(self, one: Declaration) -> str:
        outcome = self._outcomes[one.test_id]
        if outcome.ended["failed"]:
            return f"**the test failed** ({outcome.ended['failed']} of {outcome.ended.total()} runs)"
        if not outcome.ended["passed"]:
            return f"skipped: {'; '.join(sorted(outcome.reasons))}"
        key = (one.test_id, one.fault)
        numbers = [_number_text(name, number) for name, number in self._numbers.get(key, {}).items()]
        texts = [*([", ".join(numbers)] if numbers else []), *self._texts.get(key, {})]
        if outcome.ended["skipped"]:
            texts.append(f"{outcome.ended['skipped']} runs skipped: {'; '.join(sorted(outcome.reasons))}")
        return "; ".join(texts) or "**the test told nothing**"


def commit(root: Path = ROOT) -> str:
    """What is checked out, with ``-dirty`` if files differ from that; empty without git, or where it has no part."""
    if not (root / ".git").exists():  # else git would tell of a repository around this folder
        return ""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


_NARROWING = {
    "-k": "keyword",
    "--deselect": "deselect",
    "--ignore": "ignore",
    "--ignore-glob": "ignore_glob",
    "--last-failed": "lf",
    "--stepwise": "stepwise",
    "--maxfail": "maxfail",  # -x is one of 1
    "--collect-only": "collectonly",
}


def narrowing(config: pytest.Config) -> list[str]:
    """The options of a run by which it may leave out tests of the files that it was given."""
    found = [option for option, name in _NARROWING.items() if getattr(config.option, name, None)]
    return [*found, *(["the name of a test"] if any("::" in place for place in config.args) else [])]


def _function_id(node_id: str) -> str:
    return node_id.partition("[")[0]


def _number_text(name: str, number: float) -> str:
    """The number before its name, or where the name has ``{}``, as in "worst wait: {} ms"."""
    text = f"{number:,.0f}" if number == int(number) else f"{number:,.3g}"
    return name.replace("{}", text) if "{}" in name else f"{text} {name}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def write(page: Path, table: str) -> None:
    """Put the table between the markers of a page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"cannot write the fault report: {page} lacks {BEGIN!r} or {END!r}; put them back")
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


@dataclass(frozen=True)
class Row:
    """A row of the table on the page."""

    fault: str
    promised: str
    seen: str
    test_id: str


def rows(page: Path = PAGE) -> list[Row]:
    """The table of the page."""
    table = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.replace("\\|", "|") for cell in line[2:-2].split(" | ")] for line in lines]
    return [Row(fault, promised, seen, test.strip("`")) for fault, promised, seen, test in cells]


def unlisted(declared: list[Declaration], listed: list[Row]) -> list[Declaration]:
    """The faults that tests tell of and the table lacks."""
    return [one for one in declared if not any(_is_row_of(row, one) for row in listed)]


def undeclared(declared: list[Declaration], listed: list[Row]) -> list[Row]:
    """The rows of the table that no test tells of."""
    return [row for row in listed if not any(_is_row_of(row, one) for one in declared)]


def _is_row_of(row: Row, one: Declaration) -> bool:
    return row.test_id == one.test_id and row.promised == one.promised and one.is_fault(row.fault)
