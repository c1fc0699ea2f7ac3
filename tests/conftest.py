"""How much hypothesis tries: a fixed sample everywhere, many fresh examples in `make faults`."""

import os

from hypothesis import settings

# No deadline: a loaded machine must not turn into a failed property.
settings.register_profile("sample", derandomize=True, max_examples=50, deadline=None)
settings.register_profile("long", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("long" if os.environ.get("SONDE_TEST_LONG") == "1" else "sample")
