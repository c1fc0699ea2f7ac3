"""Instrument: what agent code says about what it does."""

from sonde.instrument.capture import ContentCapture
from sonde.instrument.disabled import DisabledOperations
from sonde.instrument.genai_prices import GenaiPrices, default_prices
from sonde.instrument.operation import Operation
from sonde.instrument.operations import Operations
from sonde.instrument.outcome import Terminated
from sonde.instrument.price_file import FilePrices
from sonde.instrument.prices import NoPrices, PriceTable, price
from sonde.instrument.snapshot import snapshot

__all__ = [
    "ContentCapture",
    "DisabledOperations",
    "FilePrices",
    "GenaiPrices",
    "NoPrices",
    "Operation",
    "Operations",
    "PriceTable",
    "Terminated",
    "default_prices",
    "price",
    "snapshot",
]
