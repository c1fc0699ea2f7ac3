"""The report of the fault suite is of tests that exist, and says what each fault was promised."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

report = sys.modules["fault_report"]  # loaded by conftest


def test_every_fault_listed_has_its_test() -> None:
    """Each row of the table in docs/guarantees.md is told of by the test that it names, fault and promise alike."""
    listed = report.rows()
    assert listed
    strays = report.undeclared(report.declarations(), listed)
    assert not strays, f"the test of these rows tells of no such fault; change or remove the row: {strays}"


def test_every_fault_is_listed() -> None:
    """What tests tell of is in the table in docs/guarantees.md."""
    wanting = report.unlisted(report.declarations(), report.rows())
    assert not wanting, f"run `make faults`, or add a row that says {report.NOT_RUN!r}: {wanting}"


def test_a_fault_is_told_of_in_words() -> None:
    """Both texts stand in the call, so that a fault whose test fails is known all the same."""
    wanting = [f"{one.path}:{one.line}" for one in report.declarations() if not (one.fault and one.promised)]
    assert not wanting, f"fault_report(fault='…', promised='…') needs both texts in the call itself: {wanting}"


def test_every_call_is_found() -> None:
    """A call outside of a test function, or by another name, would be missing from the table."""
    declared = report.declarations()
    for path in sorted((Path(report.ROOT) / "tests").rglob("test_*.py")):
        if path == Path(__file__):
            continue
        name = path.relative_to(report.ROOT).as_posix()
        calls = len(re.findall(r"fault_report\(\s*fault=", path.read_text(encoding="utf-8")))
        assert calls <= sum(one.path == name and one.test.startswith("test_") for one in declared), name


SOURCE = """
def test_a(fault_report):
    fault_report(fault="power | cut", promised="nothing", seen={"cuts": 1})

def test_b(fault_report):
    fault_report(fault=f"flood {height}", promised="a boat", seen="a boat")
"""


def test_the_table_says_what_became_of_each_test(tmp_path: Path) -> None:
    """Numbers of several runs are summed or the largest taken; a failed or skipped test is in the table as such."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(SOURCE)
    first, second = report.declarations(tmp_path)
    assert (first.test_id, first.fault, first.promised) == ("tests/test_it.py::test_a", "power | cut", "nothing")
    collected = report.FaultReport(is_written=False)
    outcome = collected._outcomes[first.test_id] = report.Outcome()
    outcome.ended["passed"] = 2
    for wait_ms in (3, 2):
        collected.add(first.test_id, first.fault, {"cuts": 1000, "worst wait: {} ms": wait_ms})
    assert collected._seen(first) == "2,000 cuts, worst wait: 3 ms"
    outcome.ended["failed"] = 1
    assert collected._seen(first) == "**the test failed** (1 of 3 runs)"
    outcome = collected._outcomes[second.test_id] = report.Outcome(reasons={"needs root"})
    assert [(told.fault, collected._seen(told)) for told in collected._told(second)] == [
        ("flood …", "skipped: needs root")
    ]
    outcome.ended["passed"] = 2
    collected.add(second.test_id, "flood 1 m", "a boat")
    collected.add(second.test_id, "flood 2 m", "two boats")
    assert [(told.fault, collected._seen(told)) for told in collected._told(second)] == [
        ("flood 1 m", "a boat"),
        ("flood 2 m", "two boats"),
    ]


def test_the_table_goes_between_the_markers(tmp_path: Path) -> None:
    """What a person wrote around the table stays, and a page is written as often as one likes."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n\n{report.BEGIN}\nold\n{report.END}\n\nbelow\n")
    row = "| power \\| cut | nothing | 1 cuts | `tests/test_it.py::test_a` |"
    for _ in range(2):
        report.write(page, f"{report.HEADER}\n{row}")
    assert page.read_text() == f"above\n\n{report.BEGIN}\n\n{report.HEADER}\n{row}\n\n{report.END}\n\nbelow\n"
    assert report.rows(page) == [report.Row("power | cut", "nothing", "1 cuts", "tests/test_it.py::test_a")]


def test_a_row_and_a_fault_that_lack_each_other_are_found(tmp_path: Path) -> None:
    """By the test's name, the fault and the promise; an open text stands for whatever was told."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(SOURCE)
    declared = report.declarations(tmp_path)
    cut = report.Row("power | cut", "nothing", "1 cuts", "tests/test_it.py::test_a")
    flood = report.Row("flood 2 m", "a boat", "a boat", "tests/test_it.py::test_b")
    assert (report.unlisted(declared, [cut, flood]), report.undeclared(declared, [cut, flood])) == ([], [])
    for wrong in (
        replace(flood, fault="drought"),
        replace(flood, promised="two boats"),
        replace(flood, test_id="tests/test_it.py::test_c"),
    ):
        assert report.unlisted(declared, [cut, wrong]) == [declared[1]]
        assert report.undeclared(declared, [cut, wrong]) == [wrong]


@pytest.mark.parametrize(
    ("arguments", "kept_because"),
    [
        ((), ""),
        (("-x",), "--maxfail was given"),
        (("--lf",), "--last-failed was given"),
        (("--sw",), "--stepwise was given"),
        (("-k", "not fails"), "-k was given"),
        (("--deselect", "test_it.py::test_fails"), "--deselect was given"),
        (("--ignore", "other"), "--ignore was given"),
        (("--ignore-glob", "other*"), "--ignore-glob was given"),
        (("--collect-only",), "--collect-only was given"),
        (("test_it.py::test_passes",), "the name of a test was given"),
    ],
)
def test_a_run_that_leaves_out_tests_leaves_the_page(
    tmp_path: Path, arguments: tuple[str, ...], kept_because: str
) -> None:
    """Only a run of whole files writes the table; any other says why it doesn't. A failed test keeps nothing back."""
    page = tmp_path / "page.md"
    page.write_text(f"{report.BEGIN}\nold\n{report.END}\n")
    (tmp_path / "test_it.py").write_text("def test_fails():\n    assert False\ndef test_passes():\n    pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-c", RUN, report.__file__, str(page), *arguments],
        cwd=tmp_path, env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "internal error" not in done.stdout.lower(), done.stdout
    is_kept = page.read_text() == f"{report.BEGIN}\nold\n{report.END}\n"
    assert is_kept == bool(kept_because), (done.stdout, done.stderr)
    assert ("page.md is left as it was" in done.stdout) == bool(kept_because)
    assert kept_because in done.stdout
    assert is_kept or "The last full run" in page.read_text()


RUN = """
import importlib.util, pathlib, sys, pytest
spec = importlib.util.spec_from_file_location("fault_report", sys.argv[1])
report = sys.modules["fault_report"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(report)
report.PAGE = pathlib.Path(sys.argv[2])
report.ROOT = report.PAGE.parent
report.declarations.__defaults__ = report.commit.__defaults__ = (report.ROOT,)
pytest.main(sys.argv[3:], plugins=[report.FaultReport(is_written=True)])
"""


def test_the_table_names_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what was changed since, and what it became meanwhile; a copy without git has a table all the same."""
    commits = ["v1-2-gabc", "v1-2-gabc-dirty"]
    monkeypatch.setattr(report, "commit", lambda: commits.pop(0))
    assert "UTC, commit v1-2-gabc and then v1-2-gabc-dirty, sonde" in report.FaultReport(is_written=True).text("tests")
    monkeypatch.setattr(report, "commit", lambda: "v1-2-gabc")
    assert "UTC, commit v1-2-gabc, sonde" in report.FaultReport(is_written=True).text("tests")
    monkeypatch.setattr(report, "commit", lambda: "")
    assert "UTC, sonde" in report.FaultReport(is_written=True).text("tests")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_commit_is_that_of_the_folder(tmp_path: Path) -> None:
    """One that lies in somebody else's repository has none of its own; changed files are told of."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    (tmp_path / "inside").mkdir()
    (tmp_path / "a.txt").write_text("a")
    for command in (["init", "-q"], ["add", "a.txt"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    clean = report.commit(tmp_path)
    assert len(clean) >= 7
    assert head.stdout.startswith(clean)
    (tmp_path / "a.txt").write_text("b")
    assert report.commit(tmp_path) == f"{clean}-dirty"
    assert report.commit(tmp_path / "inside") == ""
