"""record(): the one call with which most programs begin."""

from __future__ import annotations

import os
from collections.abc import Iterable

from sonde.hub import DEFAULT_MAX_PENDING_BYTES, HubConfig, Overflow
from sonde.instrument import ContentCapture, PriceTable
from sonde.recorder.interval import DEFAULT_PROFILE_HZ, DEFAULT_PROFILE_INTERVAL_S
from sonde.recorder.keeping import JournalPlace
from sonde.recorder.memory_events import DEFAULT_MEMORY_INTERVAL_S
from sonde.recorder.metric_events import DEFAULT_METRICS_INTERVAL_S
from sonde.recorder.recorder import RECORDER_HUB, Recorder
from sonde.redaction import NoRedactor, Redactor
from sonde.store import Durability, EventStore, Retention


def record(
    path: str | os.PathLike[str] | None = None,
    *,
    session_id: str | None = None,
    tags: Iterable[str] = (),
    store: EventStore | None = None,
    redact: bool = True,
    redactor: Redactor | None = None,
    capture: ContentCapture | None = None,
    prices: PriceTable | None = None,
    max_pending_bytes: int = DEFAULT_MAX_PENDING_BYTES,
    overflow: Overflow = "drop",
    durability: Durability | str = Durability.COMMIT,
    journal: JournalPlace = "memory",
    metrics: bool = True,
    metrics_interval_s: float | None = DEFAULT_METRICS_INTERVAL_S,
    memory_interval_s: float | None = DEFAULT_MEMORY_INTERVAL_S,
    profile: bool | None = None,
    profile_hz: float = DEFAULT_PROFILE_HZ,
    profile_interval_s: float | None = DEFAULT_PROFILE_INTERVAL_S,
    retention: Retention | None = None,
    sigterm: bool = False,
    hub_config: HubConfig = RECORDER_HUB,
) -> Recorder:
    """Begin to record this program: the one call that most programs need.

    Args:
        path: the file, made if it is missing; ``None``: ``SONDE_DB``, else the CLI's default file of this user.
        session_id: a name for this run; one that the store knows is continued. ``None``: ``SONDE_SESSION`` (which
            ``sonde run`` sets), else a new one.
        tags: words to find the session by.
        store: an open event store instead of a path; it stays open afterwards.
        redact: ``False`` writes secrets as they are.
        redactor: what takes secrets out; ``SecretRedactor(rules=..., keys=...)`` adds your own.
        capture: which content is recorded (prompts and answers, tool arguments and results, raw bodies). All of it.
        prices: what tokens cost where nobody reports it. By default the table of ``genai-prices``, if installed.
        max_pending_bytes: how much may wait in memory while the disk does not take it.
        overflow: past that, ``"drop"`` counts and records a gap; ``"block"`` lets threads wait up to a second.
        durability: what survives what. ``"commit"``: what is committed survives ``kill -9``, and that comes a moment
            after ``emit``. ``"emit"``: an event survives it from the moment at which ``emit`` returns, at some 1 µs
            more; on Linux, in a file. ``"power"``: what is committed survives a power cut, too. A store that you opened
            keeps its own.
        journal: where lies what a kill leaves for the next process: at durability ``emit`` copies of events, at each
            the count of what was published. ``"memory"`` (``/dev/shm``, on Linux) outlives the process, and no disk
            can hold up an ``emit`` there; it ends with the machine, and with the container that it belongs to.
            ``"disk"``, beside the store, outlives these too, and a disk that hangs makes the program wait for it.
        metrics: ``False`` derives none from what is recorded: :attr:`Recorder.registry` stays empty.
        metrics_interval_s: how often what changed in the default metrics registry is recorded as ``sonde.metrics``
            events. It also is at the end; with ``None`` or 0 only then.
        memory_interval_s: how often memory is recorded as a ``sonde.memory`` event, and at the end if it was before. It
            is sooner when memory grows fast: by 128 MiB and a quarter. ``None`` or 0: never.
        profile: ``True`` records where time goes, by session, task and tool, as ``sonde.profile`` events that
            ``sonde profile`` shows: at most 1 % of a CPU and 4 MiB an hour. ``None``: if ``SONDE_PROFILE`` is set.
        profile_hz: how often a second it looks at all threads; less often where that would take more than 1 % of a CPU.
        profile_interval_s: how often what it saw is recorded. It also is at the end; with ``None`` or 0 only then.
        retention: how long the store keeps events: by age, by bytes, by number of sessions. What is past it is removed
            in the background, of all sessions in the store. ``None``: everything stays. See
            :class:`~sonde.store.Retention`.
        sigterm: ``True`` lets SIGTERM end the program as ``sys.exit(143)`` does, until the recorder is closed:
            ``finally`` blocks run, what is queued is written, and the session ends as cancelled by SIGTERM. Forked
            children inherit that. For the main thread, and for programs that do nothing about SIGTERM themselves.
        hub_config: bounds of live delivery.

    With ``SONDE_DISABLED=1`` in the environment nothing is opened, and all that the recorder offers does nothing.

    Raises:
        ConfigError: arguments that contradict each other or are out of range.
        StoreError: the file cannot be opened; the message says why and what to do.

    >>> with record(":memory:") as rec:
    ...     rec.emit("note.taken", text="hello")
    """
    return Recorder(
        path,
        session_id=session_id,
        tags=tags,
        store=store,
        capture=capture,
        redactor=redactor if redact else NoRedactor(),
        prices=prices,
        max_pending_bytes=max_pending_bytes,
        overflow=overflow,
        durability=durability,
        journal=journal,
        metrics=metrics,
        metrics_interval_s=metrics_interval_s,
        memory_interval_s=memory_interval_s,
        profile=profile,
        profile_hz=profile_hz,
        profile_interval_s=profile_interval_s,
        retention=retention,
        sigterm=sigterm,
        hub_config=hub_config,
    )
