"""A flame graph as an SVG file that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape

from sonde.cli.flame import Cell, FlameNode, cells_of

_WIDTH = 1200
_ROW = 18
_MARGIN = 12
_HEAD = 58
_CHAR = 7.0  # of a monospaced font of 12 pixels; some are narrower, none that is common is wider
_LEAST_PIXELS = 0.4

# XML has no place for these, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#111}"
    ".t{font-size:16px;font-weight:600}.s{fill:#555}g>rect{stroke:#fff;stroke-width:.6}g:hover>rect{stroke:#000}"
)


def flame_svg(root: FlameNode, *, title: str, subtitle: str, words: Callable[[int], str]) -> str:
    """The document. Tooltips (``title`` elements) have the whole name, where it is defined, the value and its share.

    Callers are above what they call. Names are escaped; what XML cannot carry is shown as an escape. ``words`` says
    a value.
    """
    cells = list(cells_of(root, least=_LEAST_PIXELS / (_WIDTH - 2 * _MARGIN)))
    rows = max((cell.depth for cell in cells), default=0) + 1
    height = _HEAD + rows * _ROW + _MARGIN
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{_clean(title)}</title>",
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text class="t" x="{_MARGIN}" y="24">{_clean(_fitted(title, 110))}</text>',
        f'<text class="s" x="{_MARGIN}" y="44">{_clean(_fitted(subtitle, 160))}</text>',
        *(line for cell in cells for line in _lines(cell, root, words)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _lines(cell: Cell, root: FlameNode, words: Callable[[int], str]) -> Iterator[str]:
    span = _WIDTH - 2 * _MARGIN
    left, width = _MARGIN + cell.left * span, (cell.right - cell.left) * span
    top = _HEAD + cell.depth * _ROW
    node = cell.node
    said = f"{node.name}\n{node.detail}\n" if node.detail else f"{node.name}\n"
    said += f"{words(node.value)}, {node.value / root.value:.1%} of all"
    if node.own and node.children:
        said += f"; {words(node.own)} in itself"
    yield f"<g><title>{_clean(said)}</title>"
    yield f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{_ROW - 1}" rx="2" fill="{_colour(cell)}"/>'
    room = int((width - 6) / _CHAR)
    if room >= 3:
        yield f'<text x="{left + 3:.2f}" y="{top + 13}">{_clean(_fitted(node.name, room))}</text>'
    yield "</g>"


def _colour(cell: Cell) -> str:
    """Blue for the row of labels, warm for functions; all functions of one file have one colour."""
    if cell.depth == 0:
        return "#d5d9de"
    mark = zlib.crc32((cell.node.detail.rpartition(":")[0] or cell.node.name).encode("utf-8", "replace"))
    if cell.depth == 1:
        return f"hsl({200 + mark % 40},62%,{74 + mark // 64 % 8}%)"
    return f"hsl({12 + mark % 46},{72 + mark // 64 % 16}%,{68 + mark // 1024 % 10}%)"


def _fitted(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _clean(text: str) -> str:
    return escape(_FORBIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
