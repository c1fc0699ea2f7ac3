"""Tree: a session as a person reads it: a header, then what happened inside what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from sonde.cli.line import GAP_STYLE, STATUS_STYLE, details_text, event_text, first_line, gap_text
from sonde.cli.memory_text import last_memory_text
from sonde.cli.output import note
from sonde.cli.sessions import cost_text, status_word
from sonde.cli.wording import (
    NO_TIME,
    amount_text,
    bytes_text,
    clock_text,
    dollars,
    duration_text,
    local,
    missed_text,
    moment_text,
    plural,
    printable,
    shortened,
    type_text,
)
from sonde.events import EventType, RecordedEvent
from sonde.query import Operation, Session, SessionSummary, Status, load_session
from sonde.store import EventStore
from sonde.vocabulary import role_of

MARKS = {
    Status.COMPLETED: "✓",
    Status.FAILED: "✗",
    Status.CANCELLED: "⊘",
    Status.RUNNING: "●",
    Status.INTERRUPTED: "!",
    Status.STALE: "?",
}

MAX_LINES = 400
_HEAD, _TAIL, _MIDDLE = 30, 12, 20
_NAME_CHARS = 80
_SPAN_CHARS = 8
_LEAST_ERROR_CHARS = 8


class TreeView(NamedTuple):
    """What of a session is shown.

    ``depth``: no deeper than that; ``kinds``: operations of these alone, ``failures``: those that failed alone, both
    with what they lie in; ``events``: the other events too; ``full``: no line left out.
    """

    depth: int | None = None
    kinds: frozenset[str] = frozenset()
    failures: bool = False
    events: bool = False
    full: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether only some operations are looked for."""
        return bool(self.kinds) or self.failures

    def has(self, operation: Operation) -> bool:
        """Whether an operation is among those looked for."""
        if self.kinds and operation.kind not in self.kinds:
            return False
        return not self.failures or operation.status in (Status.FAILED, Status.INTERRUPTED)


def print_session(store: EventStore, session_id: str, console: Console, view: TreeView = TreeView()) -> None:  # noqa: B008
    """Print a session's header and its tree, at most some 400 lines of it unless ``view.full``.

    Raises:
        SessionNotFoundError: the store holds none of that name.
    """
    session = load_session(store, session_id)
    # Why it ended is no question where it completed, and reading costs as much as the tree.
    memory = "" if session.summary.status is Status.COMPLETED else last_memory_text(store, session.summary)
    peak_bytes = max(map(_peak_bytes, session.tree.operations), default=0)
    print_header(session.summary, console, peak_bytes=peak_bytes, memory=memory)
    notes = session_notes(store, session, with_events=view.events)
    tree = SessionTree(session, notes, view, width=console.width)
    lines = tree.lines()
    printed = 0
    for printed, line in enumerate(islice(lines, None if view.full else MAX_LINES), 1):  # noqa: B007  # counted
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    left = list(islice(lines, 2))
    if len(left) == 1:  # such as the error of the last operation: it takes no more room than a word about it
        console.print(left.pop(), no_wrap=True, overflow="ellipsis", crop=True)
    if not printed:
        console.print(Text("no operation fits" if view.is_filtered else "no operation is on record", "dim"))
    is_cut = bool(left)
    if is_cut or tree.folded:
        console.print(Text("⋯" if is_cut else "", "dim"))
        note("(shown in part: all of it with --full, some of it with --failures, --kind or --depth)")


def print_header(summary: SessionSummary, console: Console, *, peak_bytes: int = 0, memory: str = "") -> None:
    """Print what a session is: status, when, who, how much.

    Args:
        summary: the session.
        console: where to.
        peak_bytes: memory of its largest command, if known.
        memory: what its own process held last, if known.
    """
    head = Text.assemble((printable(summary.stream_id), "bold"))
    head.append("  ")
    head.append_text(status_word(summary.status))
    if summary.session_id != summary.stream_id:
        head.append(f"  session {printable(summary.session_id)}", "dim")
    console.print(head)
    now_ns = time.time_ns()
    ago = moment_text(summary.started_ns, now_ns)
    when = f"{local(summary.started_ns):%Y-%m-%d %H:%M:%S}" + (f" ({ago})" if ago.endswith(("ago", "now")) else "")
    took_s = summary.duration_s
    took = "took"
    if summary.status is Status.RUNNING and summary.started_ns:
        took = "running for"
        took_s = max(took_s, (now_ns - summary.started_ns) / 1e9)
    process = f"pid {summary.pid}" if summary.pid is not None else ""
    if summary.host:
        process = f"{process} on {summary.host}".strip()
    rows = [
        ("started", f"{when}, {took} {duration_text(took_s)}" if summary.started_ns else NO_TIME),
        ("command", " ".join(part for part in (summary.command, f"({process})" if process else "") if part)),
        ("tags", ", ".join(summary.tags)),
        ("totals", _totals_text(summary) + (f" · peak memory {bytes_text(peak_bytes)}" if peak_bytes else "")),
        ("memory", memory),
    ]
    for label, value in rows:
        if value:
            line = Text.assemble((f"  {label:<9}", "dim"), printable(value))
            console.print(line, overflow="fold")
    if summary.removed:
        console.print(Text(f"  {'removed':<9}{plural(summary.removed, 'event')} by retention, the oldest", "dim"))
    if summary.missed:
        missed = missed_text(summary.missed, summary.missed_bound)
        console.print(Text(f"  {'missed':<9}{missed} never reached the store", GAP_STYLE))
    console.print()


def _totals_text(summary: SessionSummary) -> str:
    tokens = summary.tokens
    parts = [plural(summary.operations, "operation")]
    if summary.failures:
        parts[0] += f", {summary.failures:,} failed"
    if tokens:
        into = sum(tokens.get(key, 0) for key in ("input_tokens", "cache_read_tokens", "cache_write_tokens"))
        out = sum(tokens.get(key, 0) for key in ("output_tokens", "reasoning_tokens"))
        parts.append(f"{amount_text(into)} tokens in, {amount_text(out)} out")
    cost = cost_text(summary.cost)
    if cost != "-":
        parts.append(f"cost {cost}" if cost == "unknown" else cost)
    parts.append(plural(summary.events, "event"))
    return " · ".join(parts)


class Note(NamedTuple):
    """Something that is no operation and has a place in the tree: a gap, or an event."""

    event: RecordedEvent

    @property
    def is_gap(self) -> bool:
        """Whether it tells of missing events."""
        return self.event.type == EventType.GAP


def session_notes(store: EventStore, session: Session, *, with_events: bool) -> dict[int, list[Note]]:
    """The gaps of a session, and its other events if they are asked for, by ``id`` of the operation they lie in."""
    stream_id = session.summary.stream_id
    events = store.read(stream_id) if with_events else store.read_by_type(stream_id, EventType.GAP.value)
    found: dict[int, list[Note]] = {}
    starts = iter([*session.tree.operations, None])
    upcoming = next(starts)
    latest: Operation | None = None
    for event in events:
        while upcoming is not None and upcoming.start_version <= event.version:
            latest, upcoming = upcoming, next(starts)
        if role_of(event.type) is not None:
            continue
        operation = None
        for span_id in (event.span_id, event.parent_id):
            operation = operation or (session.tree.find(span_id, stream_id=stream_id) if span_id else None)
        if operation is None:
            operation = _enclosing(latest, event.time_ns)
            if event.type != EventType.GAP:
                operation = _without_span(operation)
        found.setdefault(id(operation) if operation else 0, []).append(Note(event))
    return found


def _enclosing(operation: Operation | None, time_ns: int) -> Operation | None:
    """The innermost operation that was open then, going up from the one that began last."""
    while operation is not None and operation.end_ns and operation.end_ns <= time_ns:
        operation = operation.parent
    return operation


def _without_span(operation: Operation | None) -> Operation | None:
    """Where what names no operation lies: not in one with a span, whose own events name it, but in the session."""
    while operation is not None and operation.span_id and operation.kind != "session":
        operation = operation.parent
    return operation


_Item = Operation | Note | str


class SessionTree:
    """A tree of operations and notes as lines. Goes down without recursion, so depth is no danger; for one thread."""

    def __init__(self, session: Session, notes: dict[int, list[Note]], view: TreeView, *, width: int) -> None:
        self._width = width
        self.folded = False
        """Whether lines were left out."""
        self._roots = session.tree.roots
        self._notes = notes
        self._view = view
        self._path: set[int] = set()
        """Ids of what encloses an operation that is looked for."""
        if view.is_filtered:
            for operation in session.tree.operations:
                above = operation if view.has(operation) else None
                while above is not None and id(above) not in self._path:
                    self._path.add(id(above))
                    above = above.parent

    def lines(self) -> Iterator[Text]:
        """All lines, from the top."""
        roots = self._fold(self._items(self._roots, self._notes.get(0, [])))
        # What is still to be printed, last first: an item, the guides before it, its depth.
        pending: list[tuple[_Item, str, bool, int]] = [
            (item, "", index == len(roots) - 1, 0) for index, item in reversed(list(enumerate(roots)))
        ]
        while pending:
            item, guides, is_last, depth = pending.pop()
            branch = "" if depth == 0 else ("└─ " if is_last else "├─ ")
            below = "" if depth == 0 else guides + ("   " if is_last else "│  ")
            if not isinstance(item, Operation):
                yield _with_guides(guides + branch, depth, _note_text(item))
                continue
            children = self._fold(self._items(item.children, self._notes.get(id(item), [])))
            is_cut = self._view.depth is not None and depth >= self._view.depth and bool(children)
            yield _with_guides(
                guides + branch, depth, self._operation_text(item, hidden=len(children) if is_cut else 0)
            )
            if item.status is Status.FAILED:
                guides = below + ("│  " if children and not is_cut else "   ")
                if error := _error_text(item, self._width - min(len(guides), _GUIDE_CHARS)):
                    yield _with_guides(guides, depth + 1, error)
            if is_cut:
                continue
            last = len(children) - 1
            pending += [
                (child, below, index == last, depth + 1) for index, child in reversed(list(enumerate(children)))
            ]

    def _items(self, operations: list[Operation], notes: list[Note]) -> list[_Item]:
        """Operations and notes of one parent, in the order in which they came."""
        if self._path or self._view.is_filtered:
            operations = [operation for operation in operations if id(operation) in self._path]
        if not notes:
            return list(operations)
        return sorted([*operations, *notes], key=_version)

    def _fold(self, items: list[_Item]) -> list[_Item]:
        """Of a long row of siblings the first, the last, and what went wrong between them."""
        if self._view.full or len(items) <= _HEAD + _MIDDLE + _TAIL:
            return items
        self.folded = True
        middle = items[_HEAD:-_TAIL]
        kept: list[_Item] = []
        hidden = shown = 0
        for item in middle:
            if shown < _MIDDLE and _is_remarkable(item):
                if hidden:
                    kept.append(_more(hidden))
                kept.append(item)
                shown, hidden = shown + 1, 0
            else:
                hidden += 1
        if hidden:
            kept.append(_more(hidden))
        return [*items[:_HEAD], *kept, *items[-_TAIL:]]

    def _operation_text(self, operation: Operation, *, hidden: int) -> Text:
        status = operation.status
        is_context = self._view.is_filtered and not self._view.has(operation)
        text = Text.assemble((MARKS[status], "dim" if is_context else STATUS_STYLE[status]))
        text.append(f" {shortened(operation.kind, 40)}", "dim")
        if operation.name and operation.kind != "session":
            text.append(f"  {shortened(operation.name, _NAME_CHARS)}", "dim" if is_context else "bold")
        details = details_text({"args": operation.start_data.get("args")}) if operation.kind.endswith("tool") else ""
        if details and not is_context:
            text.append(f"  {details}", "dim")
        if status is not Status.COMPLETED:
            text.append(f"  {status.value}", STATUS_STYLE[status])
        if operation.duration_s is not None:
            text.append(f"  {duration_text(operation.duration_s)}", "dim")
        if not is_context:
            _append_usage(text, operation)
        # A session that lies in nothing here was begun by another session, which has its own record.
        if operation.parent_missing and not (operation.kind == "session" and operation.parent is None):
            text.append("  (what it lay in is not on record)", "dim")
        if hidden:
            text.append(f"  (+{hidden:,} inside)", "dim")
        if self._view.full and operation.span_id:
            text.append(f"  {operation.span_id[:_SPAN_CHARS]}", "dim")
        return text


def _version(item: _Item) -> int:
    if isinstance(item, Operation):
        return item.start_version
    return item.event.version if isinstance(item, Note) else 0


def _is_remarkable(item: _Item) -> bool:
    if isinstance(item, Operation):
        return item.status is not Status.COMPLETED
    return isinstance(item, Note) and item.is_gap


def _more(number: int) -> str:
    return f"⋯ {number:,} more"


def _append_usage(text: Text, operation: Operation) -> None:
    tokens = operation.tokens
    if tokens:
        into = sum(tokens.get(key, 0) for key in ("input_tokens", "cache_read_tokens", "cache_write_tokens"))
        out = sum(tokens.get(key, 0) for key in ("output_tokens", "reasoning_tokens"))
        text.append(f"  {amount_text(into)} in, {amount_text(out)} out", "dim")
    if operation.cost.usd is not None:
        text.append(f"  {dollars(operation.cost.usd)}", "dim")
    peak_bytes = _peak_bytes(operation)
    if peak_bytes:
        text.append(f"  {bytes_text(peak_bytes)}", "dim")


def _peak_bytes(operation: Operation) -> int:
    """Peak memory of a shell operation, 0 where none is on record; events of others may say anything there."""
    value = operation.end_data.get("max_rss_bytes") if operation.kind == "shell" else None
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _error_text(operation: Operation, width: int) -> Text | None:
    """The error's first line, cut so that the hint behind it has its place."""
    line = error_line(operation)
    if not line:
        return None
    hint = f"  --span {operation.span_id[:_SPAN_CHARS]}" if operation.span_id else ""
    text = Text(line, "red")
    text.truncate(max(_LEAST_ERROR_CHARS, width - len(hint)), overflow="ellipsis")
    return Text.assemble(text, (hint, "dim"))


def error_line(operation: Operation) -> str:
    """The first line of an operation's error, with its type where that says more than the text."""
    line = first_line(operation.error)
    kind = printable(operation.error_type)
    if not line or not kind:
        return line or kind
    # "exit_status: exit status 1" and "failure: timeout" say nothing twice, or nothing.
    is_said = (
        kind == "failure" or line.startswith(kind.replace("_", " ")) or (kind == "signal" and line.startswith("killed"))
    )
    return line if is_said else f"{kind}: {line}"


def _note_text(item: Note | str) -> Text:
    if isinstance(item, str):
        return Text(item, "dim")
    event = item.event
    if item.is_gap:
        return Text(f"⚠ {gap_text(event.data)}", GAP_STYLE)
    text = Text.assemble(("· ", "dim"))
    text.append(type_text(event.type, 60))
    details = event_text(event)
    text.append(f"  {details}" if details else "", "dim")
    text.append(f"  {clock_text(event.time_ns)}", "dim")
    return text


_GUIDE_CHARS = 3 * 16


def _with_guides(guides: str, depth: int, text: Text) -> Text:
    """The line behind its guides; far down only the last of them are drawn, and the depth is said."""
    if len(guides) > _GUIDE_CHARS:
        guides = f"⋯{depth:<5}{guides[-(_GUIDE_CHARS - 6) :]}"
    line = Text.assemble((guides, "dim"))
    line.append_text(text)
    return line
