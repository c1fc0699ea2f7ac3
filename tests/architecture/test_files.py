"""Files stay small, are named for what they hold, and every test says what it holds true."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MAX_LINES = 800
NOT_A_NOUN = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def undocumented_tests(path: Path) -> list[str]:
    """The test functions of a file that have no docstring."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
    return [f"{relative(path)}:{node.lineno} {node.name}" for node in functions if not ast.get_docstring(node)]


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=relative)
def test_no_file_grows_past_the_limit(path: Path) -> None:
    """A file past 800 lines holds more than one thing."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{relative(path)} has {lines} lines, at most {MAX_LINES}: split it by subject"


def test_a_file_is_named_for_its_noun() -> None:
    """Names that fit anything say nothing."""
    banned = [relative(path) for path in SOURCES if NOT_A_NOUN & {path.stem.strip("_"), path.parent.name}]
    assert not banned


def test_every_test_has_a_docstring() -> None:
    """A test tells in a docstring which behaviour it holds."""
    missing = [line for path in TESTS for line in undocumented_tests(path)]
    assert not missing, "\n".join(missing)
