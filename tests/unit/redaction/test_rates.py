"""The rates of both errors that the documentation states are those of today."""

import importlib.util
from pathlib import Path
from types import ModuleType

MANUAL = Path(__file__).parents[3] / "docs" / "redaction.md"


def _rates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("redaction_rates", Path(__file__).with_name("rates.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documented_rates_hold() -> None:
    """docs/redaction.md has the tables that the generated corpus gives."""
    tables = _rates().tables()
    assert tables in MANUAL.read_text(encoding="utf-8"), f"docs/redaction.md should say:\n\n{tables}"
