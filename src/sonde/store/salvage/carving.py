"""Carving: the rows of a damaged file, out of every page that can be read, into a scratch database.

A tree of pages is followed to tell what counts from what was removed, not to find rows: each leaf is looked at, whether
or not anything leads there. That is sound since an event's row is never changed, and carries a checksum; what an index
repeats (names, origins, and where each event stands) is taken from there, too, as a second witness.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apsw

from sonde.store.salvage.cells import (
    INDEX_LEAF,
    INDEX_NODE,
    TABLE_LEAF,
    TABLE_NODE,
    Cell,
    cells_of,
    children_of,
    hidden_cells,
    kind_of,
)
from sonde.store.salvage.leftovers import left_over
from sonde.store.salvage.mending import blocks_of
from sonde.store.salvage.pages import Pages
from sonde.store.salvage.shapes import Shapes, Tree
from sonde.store.stretch import unpack

NAMES_KEY, STREAMS_KEY = "sqlite_autoindex_names_1", "sqlite_autoindex_streams_1"
ORIGINS_KEY, EVENTS_KEY = "sqlite_autoindex_origins_1", "sqlite_autoindex_events_1"
_POINTER_BYTES = 5
_BATCH = 2_000
_MAX_PADDING_BYTES = 1 << 22

_INDEX = frozenset({INDEX_LEAF, INDEX_NODE})
Candidates = dict[int, dict[Any, int]]
"""By number, what it may stand for, and how many witnesses say so."""


class Carving:
    """All that was found, of a file of the given pages.

    Attributes:
        names, streams, origins: what each number stands for.
        first_versions: of streams.
        seen: ranges of numbers by the number of their writer.
        writers: rows of that table, by writer.
        floor: up to which no position is given again.
        unreadable: pages that hold rows that cannot be read.
        bad_blocks: blocks of large data that are not what was written, and could not be read to their end.
        is_whole: nothing in the tree of events is damaged.
        knows_seen, knows_streams: so are the trees of the numbers seen, and of streams.
        live_streams: those that a tree leads to; others were removed, or the tree is damaged.
        removed: how many events retention has removed, as far as the file counts them.
        stated_sql: how the file's own schema makes the table of events.
        bad_stretches: stream, first and last version of sealed rows that cannot be read.
    """

    def __init__(
        self,
        pages: Pages,
        shapes: Shapes,
        scratch: apsw.Connection,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._pages = pages
        self._shapes = shapes
        self._scratch = scratch
        self.names: Candidates = defaultdict(dict)
        self.streams: Candidates = defaultdict(dict)
        self.origins: Candidates = defaultdict(dict)
        self.first_versions: dict[int, int] = {}
        self.seen: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self.writers: dict[int, tuple[Any, ...]] = {}
        self.floor = 0
        self.unreadable: set[int] = set()
        self.bad_blocks: set[int] = set()
        self._good_blocks: set[int] = set()
        self._chained: set[int] = set()
        self._suspects: set[int] = set()
        self._unclear: list[tuple[int, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._entries: list[tuple[int, ...]] = []
        width = len(shapes.event_columns) + 1
        self._add_event = f"INSERT INTO carved VALUES ({','.join('?' * width)})"
        self.free = self._free_pages()
        self.owners: dict[int, str] = {}
        self.live_streams: set[int] = set()
        self.bad_stretches: list[tuple[int, int, int]] = []
        self.removed = 0
        self.stated_sql: str | None = None
        self._follow_trees()
        self._look_at_all(progress)

    # --- what leads where --------------------------------------------------------------------------------------------

    def _follow_trees(self) -> None:
        found = self._stated_trees()
        whole = {}
        for name, tree in self._shapes.trees.items():
            root = found.get(name, tree.root)
            if not self._may_be_root(tree, root):
                root = tree.root
            whole[name] = self._follow(tree, root)
        self.is_whole = whole["events"] and whole["stretches"] and not self._pages.breaks and not self._pages.is_cut
        self.knows_seen = whole["seen"]
        self.knows_streams = whole["streams"] and whole[STREAMS_KEY]

    def _stated_trees(self) -> dict[str, int]:
        """The roots that the file's own schema states, as far as it can be read."""
        found: dict[str, int] = {}
        going, visited = [1], set()
        while going:
            page = going.pop()
            image = self._pages.current(page)
            if page in visited or image is None:
                continue
            visited.add(page)
            if kind_of(image, page) == TABLE_NODE:
                going += children_of(image, page)
            elif kind_of(image, page) == TABLE_LEAF:
                for cell in cells_of(image, page, self._overflow):
                    if cell is not None and len(cell.values) == 5 and type(cell.values[3]) is int:
                        found[str(cell.values[1])] = cell.values[3]
                        if cell.values[1] == "events":
                            self.stated_sql = str(cell.values[4])
        return found

    def _may_be_root(self, tree: Tree, page: int) -> bool:
        image = self._pages.current(page)
        if image is None:
            return False
        return kind_of(image, page) in (_INDEX if tree.is_index else (TABLE_LEAF, TABLE_NODE))

    def _follow(self, tree: Tree, root: int) -> bool:
        """Note which pages belong to a tree; says whether all of it can be followed."""
        leaf, node = (INDEX_LEAF, INDEX_NODE) if tree.is_index else (TABLE_LEAF, TABLE_NODE)
        is_whole = True
        going = [(root, 0)]
        while going:
            page, above = going.pop()
            image = self._pages.current(page)
            kind = 0 if image is None or page in self.owners else kind_of(image, page)
            if image is None or kind not in (leaf, node):
                is_whole = False
                self._suspects.add(above)
                if image is not None and page not in self.owners:
                    self.unreadable.add(page)
                elif above and not self._pages.is_cut:
                    self.unreadable.add(above)
                continue
            self.owners[page] = tree.name
            if kind == node:
                going += [(below, page) for below in children_of(image, page)]
        return is_whole

    def _free_pages(self) -> set[int]:
        """The pages on the list of free ones, as far as it can be followed."""
        free: set[int] = set()
        trunk = int.from_bytes(self._pages.header()[32:36], "big")
        while trunk and trunk not in free:
            image = self._pages.current(trunk)
            if image is None:
                break
            free.add(trunk)
            count = min(int.from_bytes(image[4:8], "big"), len(image) // 4 - 2)
            free.update(int.from_bytes(image[8 + 4 * at : 12 + 4 * at], "big") for at in range(count))
            trunk = int.from_bytes(image[:4], "big")
        return free

    # --- every page --------------------------------------------------------------------------------------------------

    def _look_at_all(self, progress: Callable[[int, int], None] | None) -> None:
        late: list[int] = []
        for page in range(1, self._pages.count + 1):
            image = self._pages.current(page)
            if image is not None and not self._look_at(page, image, is_current=True, is_sound=True):
                late.append(page)
            if progress is not None:
                progress(page, self._pages.count)
        for page, image, is_sound in self._pages.spare():
            if not self._look_at(page, image, is_current=False, is_sound=is_sound):
                self._look_closer(image)
        # Now it is known which pages continue a row of another page: those hide none.
        for page in late:
            image = self._pages.current(page)
            if image is not None and page not in self._chained and any(image):
                self._look_closer(image)
                if page not in self.free and page not in self._suspects:
                    self.unreadable.add(page)
                    self.is_whole = False
        self._settle_unclear()
        self._flush()

    def _look_at(self, page: int, image: bytes, *, is_current: bool, is_sound: bool) -> bool:
        """Take what a page holds; says whether that is all of it."""
        kind = kind_of(image, page)
        if kind in (TABLE_NODE, INDEX_NODE):
            for table, number, value in left_over(self.owners.get(page, ""), image):
                self._witness(self.names if table == "names" else self.origins, number, value, 0)
        if kind == TABLE_LEAF:
            return self._look_at_rows(page, image, is_current=is_current, is_sound=is_sound)
        if kind in _INDEX:
            owner = self.owners.get(page)
            if owner is not None or page not in self.free:
                self._look_at_keys(owner, page, image, is_sound=is_sound)
            return True
        if kind == TABLE_NODE:
            return page not in self._suspects
        return self._is_pointer_map(page) or not any(image)

    def _look_at_rows(self, page: int, image: bytes, *, is_current: bool, is_sound: bool) -> bool:
        owner = self.owners.get(page)
        is_live = is_current and (owner is not None or (not self.is_whole and page not in self.free))
        is_complete = _is_tidy(image, page)
        for cell in cells_of(image, page, self._overflow):
            table = None if cell is None else self._shapes.table_of(cell.values)
            if cell is None or (table is None and page != 1):
                is_complete = False
            elif table is not None:
                self._take(table, cell, is_live=is_live, is_sound=is_sound)
        if not is_complete and owner == "streams":
            self.knows_streams = False
        return is_complete

    def _look_at_keys(self, owner: str | None, page: int, image: bytes, *, is_sound: bool) -> None:
        for cell in cells_of(image, page, self._overflow):
            if cell is None:
                if owner == "seen" and is_sound:
                    self.knows_seen = False
                continue
            kinds = tuple(type(value) for value in cell.values)
            if kinds == (int, int, int) and is_sound:
                if owner == EVENTS_KEY:
                    self._entries.append(cell.values)
                elif owner == "seen":
                    self._take_seen(*cell.values)
                elif owner is None:
                    self._unclear.append(cell.values)
            elif kinds == (str, int):
                if owner in (NAMES_KEY, None):
                    self._witness(self.names, cell.values[1], cell.values[0], 1 if owner else 0)
                if owner in (STREAMS_KEY, None):
                    self._witness(self.streams, cell.values[1], cell.values[0], 1 if owner else 0)
                    self.live_streams.add(cell.values[1])
            elif kinds == (int, int, int, int, int) and owner in (ORIGINS_KEY, None):
                self._witness(self.origins, cell.values[4], cell.values[:4], 1)
        if len(self._entries) >= _BATCH:
            self._flush()

    def _look_closer(self, image: bytes) -> None:
        """Rows of events that nothing points to. They never count as live, and only if their checksum is right."""
        for cell in hidden_cells(image, _no_overflow):
            if self._shapes.table_of(cell.values) == "events":
                self._take("events", cell, is_live=False, is_sound=False)

    # --- what a row says ---------------------------------------------------------------------------------------------

    def _take(self, table: str, cell: Cell, *, is_live: bool, is_sound: bool) -> None:
        values = cell.values
        if table == "events":
            self._events.append((cell.rowid, *values[1:], is_live + is_sound))
            if len(self._events) >= _BATCH:
                self._flush()
        elif table == "names":
            self._witness(self.names, cell.rowid, values[1], 1)
        elif table == "streams":
            self._witness(self.streams, cell.rowid, values[1], 1)
            if is_live:
                self.live_streams.add(cell.rowid)
            if is_sound:
                self.first_versions[cell.rowid] = max(values[2], self.first_versions.get(cell.rowid, 1))
        elif table == "origins":
            self._witness(self.origins, cell.rowid, values[1:], 1)
        elif table == "stretches":
            self._take_stretch(values, weight=3 if is_live and is_sound else 1 if is_sound else 0)
        elif table == "blocks":
            self._take_block(cell.rowid, values[1])
        elif is_sound and table == "writers":
            self.writers[cell.rowid] = max(
                (values[1:], self.writers.get(cell.rowid, values[1:])), key=lambda row: (row[4], row[5] is not None)
            )
        elif is_sound and table == "retention" and cell.rowid == 0:
            row = dict(zip(self._shapes.columns[table], values, strict=True))
            self.floor = max(self.floor, row["floor"])
            self.removed = max(self.removed, row["removed_events"])

    def _take_stretch(self, values: tuple[Any, ...], *, weight: int) -> None:
        """Sealed rows. They have a checksum together: where it is right, so is where each of them stands."""
        stated = dict(zip(self._shapes.columns["stretches"], values, strict=True))
        try:
            rows = unpack(stated["bytes"])
        except ValueError:
            if weight > 1:
                self.bad_stretches.append((stated["stream"], stated["first_version"], stated["last_version"]))
            return
        self._events += [(*row, weight) for row in rows]
        self._flush()

    def _take_block(self, number: int, content: bytes) -> None:
        if number in self._good_blocks:
            return
        found, is_sound = blocks_of(number, content)
        if is_sound:
            self._good_blocks.update(found)
            self.bad_blocks.discard(number)
        else:
            self.bad_blocks.add(number)
        rows = [row for row in found.items() if is_sound or row[0] not in self._good_blocks]
        self._scratch.executemany("INSERT OR REPLACE INTO blocks (id, bytes) VALUES (?, ?)", rows)

    def _take_seen(self, writer: int, first: int, last: int) -> None:
        if first <= last:
            self.seen[writer].add((first, last))

    @staticmethod
    def _witness(candidates: Candidates, number: int, value: Any, weight: int) -> None:
        found = candidates[number]
        found[value] = found.get(value, 0) + weight

    def _settle_unclear(self) -> None:
        """Keys of three numbers that no tree leads to: where an event stands, or a range of a writer's numbers."""
        self._flush()
        for key in self._unclear:
            # A position is not below the version; and as a range it would end before it begins only by chance.
            rows = self._scratch.execute(
                "SELECT 1 FROM carved WHERE position = ? AND stream = ? AND version = ? LIMIT 1",
                (key[2], key[0], key[1]),
            ).fetchall()
            if rows or (key[2] >= key[1] and key[0] in self.streams and not self._is_range(key)):
                self._entries.append(key)
            elif not self.knows_seen:
                self._take_seen(*key)

    def _is_range(self, key: tuple[int, ...]) -> bool:
        return not self.knows_seen and key[0] in self.names and key[0] not in self.streams

    def _flush(self) -> None:
        self._scratch.executemany(self._add_event, self._events)
        self._scratch.executemany(
            "INSERT OR IGNORE INTO entries (stream, version, position) VALUES (?, ?, ?)", self._entries
        )
        self._events, self._entries = [], []

    # --- pages that are no tree's ------------------------------------------------------------------------------------

    def _is_pointer_map(self, page: int) -> bool:
        return page >= 2 and (page - 2) % (self._pages.size // _POINTER_BYTES + 1) == 0

    def _overflow(self, page: int, size: int) -> bytes:
        """The rest of a row. What is missing at its end is zero: of a block, what came before may be readable."""
        if size > self._pages.count * self._pages.size:
            raise ValueError("it is longer than the file")
        found: list[bytes] = []
        visited = set()
        left = size
        while left:
            image = self._pages.current(page)
            if image is None or page in visited or page in self.owners:
                if left > _MAX_PADDING_BYTES:
                    raise ValueError("its rest is missing")
                found.append(bytes(left))
                break
            visited.add(page)
            found.append(image[4 : 4 + left])
            left -= len(found[-1])
            page = int.from_bytes(image[:4], "big")
        self._chained |= visited
        return b"".join(found)


def _is_tidy(image: bytes, page: int) -> bool:
    """Whether the cells begin where the page says: if not, its count of them, or that, was altered."""
    start = 100 if page == 1 else 0
    count = int.from_bytes(image[start + 3 : start + 5], "big")
    content = int.from_bytes(image[start + 5 : start + 7], "big") or 65_536
    if image[start + 1 : start + 3] != b"\0\0":  # rows were removed: cells begin later than the content
        return True
    first = min((int.from_bytes(image[at : at + 2], "big") for at in _places(start, count, len(image))), default=None)
    return first is None or first == content


def _places(start: int, count: int, size: int) -> Iterable[int]:
    return range(start + 8, min(start + 8 + 2 * count, size - 1), 2)


def _no_overflow(_page: int, _size: int) -> bytes:
    raise ValueError("it goes on elsewhere")


def chosen(candidates: Candidates) -> Iterator[tuple[int, Any]]:
    """Of each number the value that most witnesses state."""
    for number, found in candidates.items():
        yield number, max(found, key=lambda value: found[value])
