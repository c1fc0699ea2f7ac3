"""The command line."""

from sonde.cli.main import main

__all__ = ["main"]
