"""Correlation: which session, plan, task, operation and tool a thread is working for, seen from another thread."""

from __future__ import annotations

import gc
import sys
from contextvars import Context

from sonde.context import Scope, open_operations, scope_in
from sonde.profiling.profile import Labels, labels_of
from sonde.profiling.runners import NotSure
from sonde.profiling.walker import Walk

UNKNOWN = "unknown"
"""The value of a label where nothing is sure."""
NONE = "none"
"""The value of a label where it is sure that there is no such thing."""

_KEYS = ("session", "plan", "task", "operation", "tool")
_MAX_CACHED = 4_096
_MAX_TEXT_CHARS = 1_000  # of a label as it is seen; what leaves the sampler is cut shorter, after redaction
_MAX_NESTING = 100

UNKNOWN_LABELS = labels_of(dict.fromkeys(_KEYS, UNKNOWN))

_ROOTS = ("Thread._bootstrap", "<module>", "_run_module_as_main")


class Correlation:
    """Finds the scope of a thread from its stack, and the labels of a scope. For one thread at a time.

    In this order: a frame that shows its context (event loops, executors); the operation that the thread entered last
    and has not left, whose context tells the scope in force; a frame of ``propagate`` or of a decorated generator.
    Everything else is :data:`UNKNOWN`.
    """

    def __init__(self) -> None:
        self._labels: dict[str, Labels] = {}
        self._contexts: dict[int, Context] | None = None

    def begin(self) -> None:
        """Another look at the threads begins: what was open at the last may be closed."""
        self._contexts = None

    def end(self) -> None:
        """Hold no context between two looks."""
        self._contexts = None

    def scope_of(self, ident: int, walk: Walk) -> Scope | None:
        """The scope in force in a thread whose stack is this; ``None`` where that is not sure."""
        evidence = walk.evidence
        if isinstance(evidence, Context):
            return scope_in(evidence)
        if isinstance(evidence, NotSure) or not _is_whole(walk):
            return None
        context = self._entered().get(ident)
        return scope_in(context) if context is not None else evidence

    def labels(self, scope: Scope | None) -> Labels:
        """The labels of a scope; each time the same object, as long as the operation is open."""
        if scope is None:
            return UNKNOWN_LABELS
        known = self._labels.get(scope.span_id) if scope.span_id else None
        if known is None:
            known = _labels_of(scope)
            if scope.span_id:
                if len(self._labels) >= _MAX_CACHED:
                    self._labels.clear()
                self._labels[scope.span_id] = known
        return known

    def labels_in(self, context: Context | None) -> Labels:
        """The labels of the scope in force in a context."""
        return self.labels(scope_in(context) if context is not None else None)

    def _entered(self) -> dict[int, Context]:
        """Thread → the context of the operation that it entered last. Made when it is first needed at a look."""
        if self._contexts is None:
            self._contexts = {}
            for recorder in open_operations():
                for mark, token in recorder.places():
                    if mark.is_alive:
                        for one in gc.get_referents(token):  # the one way from a token to its context
                            if type(one) is Context:
                                self._contexts[mark.ident] = one
        return self._contexts


def _is_whole(walk: Walk) -> bool:
    """Whether the stack is the thread's own: a greenlet's ends early, and hides the loop that it runs in."""
    return "greenlet" not in sys.modules or walk.root.f_code.co_qualname in _ROOTS


def _labels_of(scope: Scope) -> Labels:
    recorders = open_operations()
    session = scope.session_id
    if not session and len(recorders) == 1:
        session = recorders[0].session_id  # of what happens outside any operation
    labels = {"session": session or NONE, "plan": scope.plan_id or NONE, "task": scope.task_id or NONE}
    if scope.span_id:
        labels["span"] = scope.span_id
        labels["operation"], labels["tool"] = _names_of(scope.span_id)
    else:
        labels["operation"] = labels["tool"] = NONE
    return labels_of({key: _plain(value) for key, value in labels.items()})


def _plain(value: object) -> str:
    """Ids are what the agent gave, and that need not be text; nothing of its own is run to make one of it."""
    if isinstance(value, str):
        return str.__getitem__(value, slice(_MAX_TEXT_CHARS))
    return int.__repr__(value) if isinstance(value, int) else type(value).__name__


def _names_of(span_id: str) -> tuple[str, str]:
    """The innermost operation and the nearest tool around it. One that was closed too early hides what it is in."""
    recorders = open_operations()
    operation, noun, nesting = "", "", 0
    while span_id:
        found = next((one for one in (recorder.describe(span_id) for recorder in recorders) if one is not None), None)
        nesting += 1
        if found is None or nesting > _MAX_NESTING:
            # What a session has around it and nobody here knows is of the process that started this one.
            return operation or UNKNOWN, NONE if noun == "session" else UNKNOWN
        noun, subject, span_id = found
        text = _text_of(noun, subject)
        operation = operation or f"{noun} {text}".rstrip()
        if noun == "tool":
            return operation, text
    return operation, NONE


def _text_of(noun: str, subject: object) -> str:
    """A subject as text. Of a shell command only the program's name: arguments may hold secrets."""
    if isinstance(subject, list | tuple) and subject:
        subject = subject[0]
    text = subject if type(subject) is str else type(subject).__name__
    return text.split(maxsplit=1)[0] if noun == "shell" and text.strip() else text
