"""The report of the fault suite is of tests that exist, and says what each fault was promised."""

import re
import sys
from pathlib import Path

report = sys.modules["fault_report"]  # loaded by conftest


def test_every_fault_listed_has_its_test() -> None:
    """Each row of the table in docs/guarantees.md names a test function that tells of a fault."""
    declared = {one.test_id for one in report.declarations()}
    assert not [test for test in report.listed_tests() if test not in declared]


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
    row = "| a \\| b | c | d | `tests/test_it.py::test_a` |"
    for _ in range(2):
        report.write(page, f"{report.HEADER}\n{row}")
    assert page.read_text() == f"above\n\n{report.BEGIN}\n\n{report.HEADER}\n{row}\n\n{report.END}\n\nbelow\n"
    assert report.listed_tests(page) == ["tests/test_it.py::test_a"]
