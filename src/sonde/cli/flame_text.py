"""A flame graph of a few lines of a terminal: colours where there are any, else ASCII."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from sonde.cli.flame import Cell, FlameNode, cells_of, without_stems
from sonde.cli.wording import printable

ROWS = 12

# Dark text on these reads on light terminals and on dark ones; the numbers are those of the 256 colours.
_LABELS = (117, 153, 111, 159, 123, 147)
_FUNCTIONS = (216, 222, 179, 215, 223, 180, 209, 221)


def flame_lines(root: FlameNode, *, width: int, has_colours: bool, rows: int = ROWS) -> Iterator[Text]:
    """The rows of the graph from callers to what they call, without the row of all; each ``width`` cells wide.

    Frames that all stacks of a label begin with are left out, and so is what is narrower than a cell.
    """
    levels: dict[int, list[Cell]] = {}
    for cell in cells_of(without_stems(root), least=0.5 / width, deepest=rows):
        if cell.depth:
            levels.setdefault(cell.depth, []).append(cell)
    for cells in levels.values():
        line = Text(no_wrap=True, end="")
        for cell in cells:
            left, right = round(cell.left * width), round(cell.right * width)
            left = max(left, line.cell_len)
            if right <= left:
                continue
            line.append(" " * (left - line.cell_len))
            _append(line, cell, right - left, root.value, has_colours=has_colours)
        yield line


def _append(line: Text, cell: Cell, width: int, total: int, *, has_colours: bool) -> None:
    name = printable(cell.node.name)
    if cell.depth == 1:
        name += f" {cell.node.value / total:.0%}"
    if not has_colours:
        # A bar at the left edge, dashes to the right one: where one cell ends the next begins.
        shown = "|" + _cut(name, width - 1)
        line.append(shown + "-" * (width - cell_len(shown)))
        return
    mark = zlib.crc32(f"{cell.node.name}{cell.node.detail}".encode("utf-8", "replace"))
    colours = _LABELS if cell.depth == 1 else _FUNCTIONS
    shown = _cut(name, width - 1) if width > 1 else ""
    line.append(set_cell_size(f" {shown}" if width > len(shown) + 1 else shown, width), _style(colours, mark))


def _style(colours: tuple[int, ...], mark: int) -> str:
    return f"color(16) on color({colours[mark % len(colours)]})"


def _cut(text: str, width: int) -> str:
    """A beginning of ``text`` of at most so many cells; nothing rather than a letter or two of many."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width) if width >= 4 else ""
