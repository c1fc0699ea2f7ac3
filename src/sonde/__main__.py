"""The command ``sonde``, which ``python -m sonde`` is, too: Ctrl-C ends it quietly from its first moment on."""

import sys

_INTERRUPTED = 130


def main() -> None:
    """Load the command line and run it."""
    try:
        from sonde.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
