"""Salvage: what can still be read of a damaged file, in a new one. The damaged one is only read."""

from sonde.store.salvage.salvaging import Salvage, salvage

__all__ = ["Salvage", "salvage"]
