"""A profile for a person: a header, tables, and a small flame graph."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from sonde.cli.flame import FlameNode
from sonde.cli.flame_text import ROWS, flame_lines
from sonde.cli.plots import Glyphs, share
from sonde.cli.profile_documents import NOTHING, ProfileDocument, ProfileFunctionDocument, ProfileGroupDocument
from sonde.cli.sheet import Sheet
from sonde.cli.wording import duration_text, plural, printable, shortened

_ROWS = 10
_FIRST_CELLS = 28
_NAME_CHARS = 60
_WIDEST = 120  # of a flame graph that is piped


def print_header(document: ProfileDocument, console: Console, *, filters: Sequence[str]) -> None:
    """What was profiled, how closely, and how much of it is known."""
    parts = [f"{duration_text(document.duration_s)} profiled", plural(document.samples, "sample")]
    if document.rate_hz:
        parts.append(f"{document.rate_hz:.3g} looks a second")
    if document.cpu_s is not None:
        parts.append(f"{duration_text(document.cpu_s)} of CPU")
    if document.tool_ratio is not None:
        parts.append(f"{document.tool_ratio:.0%} of {time_word(document.time)} in tools")
    title = Text.assemble("profile of ", (printable(document.session_id), "bold"))
    if filters:
        title.append(f", only {', '.join(map(printable, filters))}")
    console.print(title)
    console.print(Text(" · ".join(parts), "dim"))
    for number, why in (
        (document.omitted_samples, "in [more stacks]: there were more different stacks than a profile may take"),
        (document.lost_samples, "in [stack not recorded]: the events that defined their stacks are gone"),
    ):
        if number:
            console.print(Text(f"{plural(number, 'sample')} {why}", "yellow"))


def print_groups(groups: Sequence[ProfileGroupDocument], console: Console, *, glyphs: Glyphs, full: bool) -> None:
    """One row a tool (or what else), with its share."""
    sheet = Sheet(groups[0].by.upper(), width=console.width, first_cells=_FIRST_CELLS)
    sheet.column("SHARE", rank=1, is_left=True)
    has_cpu, has_wall = groups[0].cpu_s is not None, groups[0].wall_s is not None
    if has_cpu:
        sheet.column("CPU")
    if has_wall:
        sheet.column("WALL", rank=2)
    sheet.column("SAMPLES", rank=3)
    for group in groups if full else groups[:_ROWS]:
        name = Text(shortened(group.name, _NAME_CHARS), "dim" if group.name in NOTHING else "bold")
        cells = [Text(share(group.time_ratio, glyphs), "cyan")]
        if has_cpu:
            cells.append(Text(duration_text(group.cpu_s or 0)))
        if has_wall:
            cells.append(Text(duration_text(group.wall_s or 0)))
        sheet.row(name, *cells, Text(f"{group.samples:,}"))
    sheet.print(console)
    _print_rest(len(groups), console, full=full)


def print_functions(functions: Sequence[ProfileFunctionDocument], console: Console, *, full: bool) -> None:
    """The functions with the most time in themselves, then those with the most in themselves and what they call."""
    own = [one for one in functions if one.self_s]
    _print_function_table("FUNCTION, BY ITS OWN TIME", own, console, full=full)
    if not full:
        ordered = sorted(functions, key=lambda one: -one.cumulative_s)
        ordered = [one for one in ordered if one.self_ratio < one.cumulative_ratio]
        _print_function_table("FUNCTION, WITH WHAT IT CALLS", ordered, console, full=full)


def _print_function_table(
    head: str, functions: Sequence[ProfileFunctionDocument], console: Console, *, full: bool
) -> None:
    if not functions:
        return
    sheet = Sheet(head, width=console.width, first_cells=_FIRST_CELLS)
    for column, rank in (("SELF", 0), ("SELF %", 1), ("WITH CALLED", 0), ("WITH CALLED %", 2)):
        sheet.column(column, rank=rank)
    for one in functions if full else functions[:_ROWS]:
        name = Text(shortened(one.function, _NAME_CHARS))
        if one.file:
            name.append(f"  {place_text(one.file, one.line)}", "dim")
        figures = (
            duration_text(one.self_s),
            f"{one.self_ratio:.0%}",
            duration_text(one.cumulative_s),
            f"{one.cumulative_ratio:.0%}",
        )
        sheet.row(name, *figures)
    sheet.print(console)
    _print_rest(len(functions), console, full=full)


def _print_rest(number: int, console: Console, *, full: bool) -> None:
    if not full and number > _ROWS:
        console.print(Text(f"⋯ {number - _ROWS:,} more; all with --full", "dim"))


def print_flame(root: FlameNode, console: Console, *, by: str) -> None:
    """Callers above what they call; each as wide as its share."""
    width = min(console.width, _WIDEST)
    has_colours = console.is_terminal and console.color_system is not None and not console.no_color
    console.print()
    console.print(Text(f"FLAME GRAPH, BY {by.upper()}", "dim"))
    lines = list(flame_lines(root, width=width, has_colours=has_colours))
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    if len(lines) >= ROWS:
        console.print(Text("⋯ deeper: --flame FILE.svg", "dim"))


def time_word(time: str) -> str:
    """What a sample type is called in a sentence."""
    return {"cpu": "CPU time", "wall": "wall-clock time"}.get(time, time)


def place_text(file: str, line: int) -> str:
    """The end of a path, enough to know it by.

    >>> place_text("/usr/lib/python3.11/json/decoder.py", 344), place_text("agent.py", 0)
    ('json/decoder.py:344', 'agent.py')
    """
    end = "/".join(file.replace("\\", "/").split("/")[-2:])
    return shortened(f"{end}:{line}" if line else end, _NAME_CHARS)
