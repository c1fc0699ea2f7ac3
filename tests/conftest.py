"""What all tests share: how much hypothesis tries, and which files are tests."""

import os
from pathlib import Path

from hypothesis import settings

# A fixed sample everywhere, many fresh examples in `make faults`. No deadline: a loaded machine must not turn into a
# failed property.
settings.register_profile("sample", derandomize=True, max_examples=50, deadline=None)
settings.register_profile("long", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("long" if os.environ.get("SONDE_TEST_LONG") == "1" else "sample")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave alone what isn't a test: --doctest-modules, meant for src, would import the scripts that tests run."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None
