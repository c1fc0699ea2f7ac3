"""Line: one event as one line of a terminal: when, whose, how deep, what, how long, why not."""

from __future__ import annotations

from collections import OrderedDict
from datetime import date, datetime
from typing import Any

import click
from rich.text import Text

from sonde.cli.documents import event_document
from sonde.cli.memory_text import memory_text
from sonde.cli.output import data_console, print_json
from sonde.cli.profile_text import profile_text
from sonde.cli.wording import (
    amount_text,
    clock_text,
    dollars,
    duration_text,
    local,
    middle_cut,
    plural,
    shortened,
    type_text,
)
from sonde.events import Event, EventType
from sonde.query import Status, cost_of, duration_of, tokens_of
from sonde.vocabulary import name_of, role_of

STATUS_STYLE = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.FAILED: "bold red",
    Status.CANCELLED: "yellow",
    Status.INTERRUPTED: "magenta",
    Status.STALE: "dim yellow",
}
GAP_STYLE = "bold yellow"

_SESSION_STYLES = ("cyan", "blue", "magenta", "yellow", "green", "bright_cyan", "bright_blue", "bright_magenta")
_MAX_SPANS = 10_000
_MAX_DEPTH = 12
_INDENT = "  "
_NAME_CHARS = 60
_VALUE_CHARS = 40


def gap_text(data: dict[str, Any]) -> str:
    """What a ``sonde.gap`` says.

    >>> gap_text({"missed": 12, "reasons": {"queue_full": 12}})
    '12 events missed here: queue_full'
    >>> gap_text({"missed": 3, "reasons": {"overloaded": 2, "failed": 1}})
    '3 events missed here: overloaded 2, failed 1'
    """
    missed = data.get("missed")
    count = plural(missed, "event") if isinstance(missed, int) else "some events"
    if data.get("at_most"):
        count = f"at most {count}"
    elif data.get("estimated"):
        count = f"some {count}"
    reasons = data.get("reasons")
    if not isinstance(reasons, dict) or not reasons:
        return f"{count} missed here"
    if len(reasons) == 1:
        return f"{count} missed here: {shortened(str(next(iter(reasons))), _NAME_CHARS)}"
    ordered = sorted(reasons.items(), key=lambda item: -item[1] if isinstance(item[1], int) else 0)
    return f"{count} missed here: " + ", ".join(f"{shortened(str(key), 40)} {value}" for key, value in ordered)


def first_line(error: object, limit: int = 200) -> str:
    """The first line of an error that says something."""
    for line in str(error).splitlines():
        if line.strip():
            return shortened(line.strip(), limit)
    return ""


def usage_text(data: dict[str, Any]) -> str:
    """Tokens and cost as an event states them: ``88k in, 2.3k out, $0.12``; empty if it states none."""
    tokens = tokens_of(data)
    words = []
    into = sum(tokens.get(key, 0) for key in ("input_tokens", "cache_read_tokens", "cache_write_tokens"))
    out = sum(tokens.get(key, 0) for key in ("output_tokens", "reasoning_tokens"))
    if tokens:
        words += [f"{amount_text(into)} in", f"{amount_text(out)} out"]
    cost = cost_of(data)
    if cost.usd is not None:
        words.append(dollars(cost.usd))
    return ", ".join(words)


class LineWriter:
    """Turns events into lines, in order. It remembers which span lies in which, of the last 10,000, and the date.

    For one thread. ``session_chars``: the room for the session's name, 0 to leave it out.
    """

    def __init__(self, *, session_chars: int = 0, today: date | None = None) -> None:
        self._session_chars = session_chars
        self._date = today
        self._depths: OrderedDict[str, int] = OrderedDict()

    def new_day(self, event: Event) -> str:
        """The date, where it is another than that of the line before; else the empty string."""
        if not event.time_ns:
            return ""
        day = local(event.time_ns).date()
        if day == self._date:
            return ""
        self._date = day
        return f"{day:%A, %Y-%m-%d}"

    def line(self, event: Event) -> Text:
        """The event as a line."""
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(clock_text(event.time_ns), "dim")
        text.append("  ")
        if self._session_chars:
            name = middle_cut(event.session_id or "-", self._session_chars)
            text.append(name.ljust(self._session_chars), session_style(event.session_id))
            text.append("  ")
        text.append(_INDENT * min(self._depth(event), _MAX_DEPTH))
        if event.type == EventType.GAP:
            text.append(f"⚠ {gap_text(event.data)}", GAP_STYLE)
            return text
        self._append_what(text, event)
        return text

    def _depth(self, event: Event) -> int:
        """How many spans an event lies in, as far as they were seen."""
        if not event.span_id:
            return self._depths.get(event.parent_id, -1) + 1 if event.parent_id else 0
        depth = self._depths.get(event.span_id)
        role = role_of(event.type)
        if depth is None:
            depth = self._depths.get(event.parent_id, -1) + 1
            if role is not None:
                self._depths[event.span_id] = depth
                if len(self._depths) > _MAX_SPANS:
                    self._depths.popitem(last=False)
        return depth if role is not None else depth + 1

    def _append_what(self, text: Text, event: Event) -> None:
        role = role_of(event.type)
        status = None if role is None else role.status
        if event.type == EventType.SESSION_ENDED and event.data.get("status") in ("failed", "cancelled"):
            status = Status(event.data["status"])
        style = "" if role is None else "cyan" if status is None else STATUS_STYLE[status]
        text.append(type_text(event.type, _NAME_CHARS), style)
        name = "" if role is None else name_of(role.kind, event.data)
        if name:
            text.append("  ")
            text.append(shortened(name, _NAME_CHARS), "bold")
        duration_s = None if status is None else duration_of(event.data)
        if duration_s is not None:
            text.append(f"  {duration_text(duration_s)}", "dim")
        usage = usage_text(event.data)
        if usage:
            text.append(f"  {usage}", "dim")
        error = first_line(event.data.get("error", "")) if status not in (None, Status.COMPLETED) else ""
        if error:
            text.append(f"  {error}", "red")
        elif role is None or status is None:
            details = event_text(event, leave_out=name)
            if details:
                text.append(f"  {details}", "dim")


class EventPrinter:
    """Prints events on stdout, each at once: lines for a person, cut to the terminal's width, or documents."""

    def __init__(self, *, as_json: bool, with_session: bool = False) -> None:
        self._as_json = as_json
        self._console = data_console()
        room = max(8, min(26, self._console.width // 5)) if with_session else 0
        self._lines = LineWriter(session_chars=room, today=datetime.now().astimezone().date())

    def __call__(self, event: Event) -> None:
        """Print one."""
        if self._as_json:
            print_json(event_document(event))
            return
        day = self._lines.new_day(event)
        line = self._lines.line(event)
        if self._console.is_terminal:
            if day:
                self._console.print(f"── {day} ──", style="dim")
            self._console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            click.echo(f"── {day} ──\n{line.plain}" if day else line.plain)


def session_style(session_id: str) -> str:
    """A colour that a session keeps, in every process."""
    return _SESSION_STYLES[sum(session_id.encode("utf-8", "replace")) % len(_SESSION_STYLES)]


def event_text(event: Event, *, leave_out: str = "") -> str:
    """What an event says besides its type and name."""
    if event.type == EventType.MEMORY:
        return memory_text(event.data)
    if event.type == EventType.PROFILE:
        return profile_text(event.data)
    return details_text(event.data, leave_out=leave_out)


def details_text(data: dict[str, Any], *, leave_out: str = "") -> str:
    """The first few plain values of ``data``, arguments first: ``path=a.py lines=…``.

    >>> details_text({"tool": "read_file", "args": {"path": "a.py", "lines": [1, 20]}}, leave_out="read_file")
    'path=a.py lines=[…]'
    """
    words: list[str] = []
    args = data.get("args")
    values = {**args, **data} if isinstance(args, dict) else data
    for key, value in values.items():
        if value is args or (leave_out and value == leave_out) or value in ("", None) or str(key).startswith("$"):
            continue
        if isinstance(value, dict):
            shown = "{…}" if value else "{}"
        elif isinstance(value, list):
            shown = "[…]" if value else "[]"
        elif isinstance(value, float):
            shown = f"{value:.6g}"
        else:
            shown = shortened(str(value), _VALUE_CHARS)
        words.append(f"{shortened(str(key), _VALUE_CHARS)}={shown}")
        if len(words) == 6:
            break
    return " ".join(words)
