"""The lint that the other tests rely on finds what it is for."""

from collections.abc import Callable

import pytest

Lint = Callable[..., list[str]]

GOOD = """\
# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{tool="a"} 1.0
calls_total{tool="b",x="\\\\\\"\\n"} 1.0
# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="1.0"} 1.0
wait_seconds_bucket{le="+Inf"} 2.0
wait_seconds_count 2.0
wait_seconds_sum 3.5
"""


def test_a_good_page_has_no_problems(lint: Lint) -> None:
    """Neither as text nor, with its counters renamed and its end marked, as OpenMetrics."""
    assert lint(GOOD.encode(), openmetrics=False) == []
    renamed = GOOD.replace("P calls_total", "P calls").replace("E calls_total", "E calls") + "# EOF\n"
    assert lint(renamed.encode(), openmetrics=True) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# HELP calls_total Calls.\n", "", "TYPE out of place"),
        ("# TYPE calls_total counter\n", "", "no HELP or TYPE before calls_total"),
        (" Calls.", " ", "no help for calls_total"),
        ("calls_total", "calls", "does not end in _total"),
        ("wait_seconds", "wait_milliseconds", "not in a base unit"),
        ("wait_seconds", "wait-seconds", "name wait-seconds"),
        ('{tool="b"', '{to-ol="b"', "label to-ol"),
        ('{tool="b",x="\\\\\\"\\n"}', '{tool="a"}', "duplicate calls_total"),
        ('"a"} 1.0', '"a"}', "no sample"),
        ('{tool="a"}', '{tool="a" x="b"}', "not readable"),
        ("wait_seconds_sum", "other_sum", "not of family"),
        ('le="1.0"} 1.0', 'le="1.0"} 3.0', "not cumulative"),
        ('le="1.0"', 'le="+Inf"', "do not ascend"),
        ("wait_seconds_count 2.0", "wait_seconds_count 3.0", "is not its count"),
        ("wait_seconds_sum 3.5\n", "wait_seconds_sum 3.5\n# HELP calls_total Calls.\n", "second block"),
        ("wait_seconds_sum 3.5\n", "wait_seconds_sum 3.5\n# TYPE wait_seconds histogram\n", "out of place"),
        ("wait_seconds_sum 3.5\n", "wait_seconds_sum 3.5", "no newline"),
        ("counter\n", "counter\n# UNIT calls_total bytes\n", "unit of calls_total"),
        ("histogram\n", "summary\n", "type summary"),
    ],
)
def test_each_fault_is_found(lint: Lint, old: str, new: str, problem: str) -> None:
    """A page with one fault has a problem that names it."""
    assert old in GOOD
    assert any(problem in found for found in lint(GOOD.replace(old, new).encode(), openmetrics=False))


def test_openmetrics_needs_its_end(lint: Lint) -> None:
    """A page that was cut off is told by its missing end."""
    assert lint(b"", openmetrics=True) == ["no EOF"]
