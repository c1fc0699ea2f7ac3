"""Sheet: a table of short cells that always fits: columns that matter less go first, then the first column is cut."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_GAP = 2


class Sheet:
    """Rows and columns for one console. The first column names the row; the others say something about it.

    >>> sheet = Sheet("TOOL", width=30)
    >>> sheet.column("COUNT")
    >>> sheet.column("P50", rank=1)
    >>> sheet.row("read_file", "12", "3 ms")
    >>> [line.plain for line in sheet.lines()]
    ['TOOL       COUNT   P50', 'read_file     12  3 ms']
    """

    def __init__(self, first: str, *, width: int, first_cells: int = 24) -> None:
        """At most ``width`` cells wide; columns go before the first one has fewer than ``first_cells``."""
        self._width = width
        self._first_cells = first_cells
        self._heads = [first]
        self._ranks = [0]
        self._is_left = [True]
        self._rows: list[list[Text]] = []

    def column(self, head: str, *, rank: int = 0, is_left: bool = False) -> None:
        """One more column; where room is short the highest rank is left out first, and rank 0 never."""
        self._heads.append(head)
        self._ranks.append(rank)
        self._is_left.append(is_left)

    def row(self, *cells: Text | str) -> None:
        """One more row, with a cell for each column."""
        self._rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def lines(self) -> list[Text]:
        """The heads, then the rows."""
        widths = self._widths()
        shown = self._shown(widths)
        others = sum(widths[place] + _GAP for place in shown[1:])
        widths[0] = max(1, min(widths[0], self._width - others))
        lines = []
        for row in [[Text(head, "dim") for head in self._heads], *self._rows]:
            line = Text(no_wrap=True, overflow="ellipsis")
            for place in shown:
                cell = row[place].copy()
                cell.truncate(widths[place], overflow="ellipsis")
                blank = " " * (widths[place] - cell_len(cell.plain))
                line.append(" " * _GAP if place else "")
                for part in (cell, blank) if self._is_left[place] else (blank, cell):
                    line.append(part)
            line.rstrip()
            lines.append(line)
        return lines

    def shows(self, head: str) -> bool:
        """Whether there is room for the column of that head."""
        return any(self._heads[place] == head for place in self._shown(self._widths()))

    def _widths(self) -> list[int]:
        return [
            max(cell_len(head), *(cell_len(row[place].plain) for row in self._rows), 0)
            for place, head in enumerate(self._heads)
        ]

    def _shown(self, widths: list[int]) -> list[int]:
        """The columns that there is room for."""
        shown = list(range(len(widths)))
        while True:
            needed = min(widths[0], self._first_cells) + sum(widths[place] + _GAP for place in shown[1:])
            least = max(shown, key=lambda place: (self._ranks[place], place))
            if needed <= self._width or not self._ranks[least]:
                return shown
            shown.remove(least)

    def print(self, console: Console) -> None:
        """An empty line, then the table."""
        console.print()
        for line in self.lines():
            console.print(line)
