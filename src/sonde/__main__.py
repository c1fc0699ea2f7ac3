"""The command ``sonde``, which ``python -m sonde`` is, too: Ctrl-C ends it quietly from its first moment on."""

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Load the command line and run it.

    While it is loaded, and while Python ends, Ctrl-C ends the process at once: raised in the middle of an import, it
    would come as a traceback, or be swallowed by a callback of the import system. In between it is a
    ``KeyboardInterrupt`` as ever, and what a command has begun comes to an orderly end.
    """
    try:
        import signal

        is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored: nohup, ``&``
        if is_ours:
            signal.signal(signal.SIGINT, _leave)
        from sonde.cli import main as run

        def ready() -> None:
            if is_ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)

        try:
            run(ready=ready)
        finally:
            if is_ours:
                signal.signal(signal.SIGINT, _leave)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _leave(_signal: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
