"""What all tests share: how much hypothesis tries, which files are tests, the report of the fault suite, journals."""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from sonde.journal import folder_of
from sonde.journal.place import place_of

# A fixed sample everywhere, many fresh examples in `make faults`. No deadline: a loaded machine must not turn into a
# failed property.
settings.register_profile("sample", derandomize=True, max_examples=50, deadline=None)
settings.register_profile("long", max_examples=200, deadline=None, print_blob=True)
IS_LONG = os.environ.get("SONDE_TEST_LONG") == "1"
settings.load_profile("long" if IS_LONG else "sample")

LONG_FORM_S = 1_200
"""What a full-length form may take before it counts as hanging, which ends the whole run."""

# A job that a script starts in the background, or nohup, ignores these, and every child would inherit that: the
# tests that send them would wait in vain.
for _name, _handler in (
    ("SIGINT", signal.default_int_handler),
    ("SIGQUIT", signal.SIG_DFL),
    ("SIGHUP", signal.SIG_DFL),
):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave alone what isn't a test: --doctest-modules, meant for src, would import the scripts that tests run."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None


def _load_fault_report() -> ModuleType:
    # Not an import: tests are no package, and nothing is on the path for them.
    spec = importlib.util.spec_from_file_location("fault_report", Path(__file__).with_name("fault_report.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_fault_report = _load_fault_report()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `make faults` gives."""
    parser.addoption(
        _fault_report.OPTION, action="store_true", help="write what the fault tests saw to docs/guarantees.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have the report collected; it is written after the long forms only."""
    is_written = config.getoption(_fault_report.OPTION) and IS_LONG
    config.pluginmanager.register(_fault_report.FaultReport(is_written=bool(is_written)), "fault-report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the full-length forms the time that they take."""
    if IS_LONG:
        for item in items:
            own = item.get_closest_marker("timeout")
            seconds = max(LONG_FORM_S, own.args[0] if own is not None else 0)
            item.add_marker(pytest.mark.timeout(seconds), append=False)


@pytest.fixture(scope="session")
def journal_files() -> Callable[[Path], list[Path]]:
    """All files of a store's journal: beside it, and in memory."""

    def files(db: Path) -> list[Path]:
        folder = Path(folder_of(str(db)))
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        for mark in [file for file in found if file.suffix == ".mark"]:
            with mark.open("rb") as file:
                home = place_of(file.fileno(), mark.stem).home
            found += sorted(Path(home.folder).glob(f"{home.stem}.*"))
        return found

    return files
