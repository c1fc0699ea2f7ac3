"""Instrument: what agent code says about what it does."""

from sonde.instrument.capture import ContentCapture
from sonde.instrument.disabled import DisabledOperations
from sonde.instrument.operation import Operation
from sonde.instrument.operations import Operations
from sonde.instrument.snapshot import snapshot

__all__ = [
    "ContentCapture",
    "DisabledOperations",
    "Operation",
    "Operations",
    "snapshot",
]
