"""Flame: the stacks of a profile as one tree, the widest branch first, below a row of tools (or of what else)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sonde.profiling import Profile

_MAX_DEPTH = 300


class FlameNode:
    """A function in its place: its own time, and that of what it called."""

    __slots__ = ("children", "detail", "name", "own", "value")

    def __init__(self, name: str, detail: str = "") -> None:
        self.name = name
        self.detail = detail
        """Where it is defined; empty for the row of labels."""
        self.value = 0
        self.own = 0
        self.children: dict[tuple[str, str], FlameNode] = {}

    def child(self, name: str, detail: str) -> FlameNode:
        """The node of a function called from here, made if it is not there."""
        found = self.children.get((name, detail))
        if found is None:
            found = self.children[name, detail] = FlameNode(name, detail)
        return found

    def widest(self) -> list[FlameNode]:
        """What was called from here, the widest first."""
        return sorted(self.children.values(), key=lambda node: (-node.value, node.name))


class Cell(NamedTuple):
    """A node where it lies: both ends as parts of the whole width, from 0 to 1."""

    depth: int
    left: float
    right: float
    node: FlameNode


def flame_of(profile: Profile, sample_type: str, *, by: str, titles: Mapping[str, str]) -> FlameNode:
    """The tree of all samples; the first row has the values of label ``by``, or their titles.

    Frames of one function are one node, whatever their line. What is not above 0 is left out.
    """
    index = profile.index(sample_type)
    root = FlameNode("all")
    for sample in profile.samples:
        value = sample.values[index]
        if value <= 0:
            continue
        root.value += value
        name = str(dict(sample.labels).get(by) or "unknown")
        node = root.child(f"({by}: {name})" if name in ("none", "unknown") else titles.get(name, name), "")
        node.value += value
        for frame in sample.stack[: -_MAX_DEPTH - 1 : -1]:
            node = node.child(frame.function, f"{frame.file}:{frame.first_line}" if frame.file else "")
            node.value += value
        node.own += value
    return root


def cells_of(root: FlameNode, *, least: float, deepest: int = _MAX_DEPTH) -> Iterator[Cell]:
    """The cells that are at least ``least`` of the whole wide and at most ``deepest`` rows down, row by row."""
    row = [Cell(0, 0.0, 1.0, root)] if root.value else []
    while row:
        below: list[Cell] = []
        for cell in row:
            yield cell
            left = cell.left
            for node in cell.node.widest() if cell.depth < deepest else ():
                right = left + node.value / root.value
                if right - left >= least:
                    below.append(Cell(cell.depth + 1, left, right, node))
                left = right
        row = below


def without_stems(root: FlameNode, *, kept: int = 2) -> FlameNode:
    """The tree without the frames at the bottom that all stacks of a label share, but for the last ``kept`` of them."""
    trimmed = FlameNode(root.name, root.detail)
    trimmed.value, trimmed.own = root.value, root.own
    for key, group in root.children.items():
        stem = [group]
        while len(stem[-1].children) == 1 and not stem[-1].own:
            stem += stem[-1].children.values()
        top = FlameNode(group.name, group.detail)
        top.value, top.own = group.value, group.own
        first = stem[max(1, len(stem) - kept) :][:1]
        top.children = {(node.name, node.detail): node for node in first} or group.children
        trimmed.children[key] = top
    return trimmed
