"""The report of the fault suite: what happened, what was promised, what was seen; a table in docs/guarantees.md.

A test tells of its fault by ``fault_report(fault="…", promised="…", seen=…)``, with both texts written out in the call
itself, which stands in the test function itself: so a fault whose test fails, or is skipped, is known all the same.
``seen`` is a text, or numbers by name, as in ``{"kills": 1, "worst wait: {} ms": 3}``: they are summed over the runs of
a test, and of names that begin with "worst" or "most" the largest is taken.
"""

from __future__ import annotations

import ast
import os
import platform
import re
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
        chosen = session.config.args
        is_whole = not session.config.option.keyword and not any("::" in place for place in chosen)
        is_ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self._is_written and is_whole and is_ended:
            write(PAGE, self.text(" ".join(chosen), is_sample=bool(session.config.option.markexpr)))

    def text(self, place: str, *, is_sample: bool = False) -> str:
        """The table of what was run, with the line above it."""
        rows = [
            f"| {_cell(told.fault)} | {_cell(told.promised)} | {_cell(self._seen(told))} | `{told.test_id}` |"
            for one in declarations()
            if one.test_id in self._outcomes
            for told in self._told(one)
        ]
        return "\n".join([self._head(place, is_sample=is_sample), "", HEADER, *rows])

    def _head(self, place: str, *, is_sample: bool) -> str:
        import apsw

        took_s = time.monotonic() - self._began_s
        places = "" if place in ("", "tests src/sonde") else f" (of {place})"
        failed = self._ended["failed"]
        kind = "run, a sample" if is_sample else "full run"
        return (
            f"The last {kind}{places}: {self._began:%Y-%m-%d %H:%M} UTC, sonde {metadata.version('sonde')}, "
            f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}, "
            f"{platform.system()} {platform.release().split('-')[0]}, {os.cpu_count()} cores: "
            f"{self._ended['passed']:,} tests passed, {failed:,} failed, {self._ended['skipped']:,} were skipped, "
            f"in {took_s / 60:.1f} minutes.\n"
            "Rows are in the order of the tests' files, and in a file of its lines."
        )

    def _told(self, one: Declaration) -> list[Declaration]:
        """One for each fault that a call with an open text told of."""
        shape = re.compile(".+".join(map(re.escape, one.fault.split(_OPEN))))
        faults = {fault: None for test, fault in (*self._numbers, *self._texts) if test == one.test_id}
        return [replace(one, fault=fault) for fault in faults if shape.fullmatch(fault)] or [one]

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


def listed_tests(page: Path = PAGE) -> list[str]:
    """The tests that the page's table names, as ``path::function``."""
    table = page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    return [row.rstrip("| ").rpartition("`")[0].rpartition("`")[2] for row in rows]
