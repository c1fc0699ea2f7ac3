"""What all tests share: how much hypothesis tries, and which files are tests."""

import os
import signal
from pathlib import Path

from hypothesis import settings

# A fixed sample everywhere, many fresh examples in `make faults`. No deadline: a loaded machine must not turn into a
# failed property.
settings.register_profile("sample", derandomize=True, max_examples=50, deadline=None)
settings.register_profile("long", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("long" if os.environ.get("SONDE_TEST_LONG") == "1" else "sample")

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
