"""``sonde replay``: a recorded session once more, at the pace at which it happened."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import click

from sonde.cli.documents import EventDocument, fields_text
from sonde.cli.line import EventPrinter
from sonde.cli.opening import open_for_reading
from sonde.cli.options import db_option, json_option
from sonde.cli.output import note
from sonde.cli.wording import duration_text, plural
from sonde.events import Event
from sonde.hub import Hub, HubConfig
from sonde.query import replay, resolve_session
from sonde.store import EventStore

_AHEAD = 1000


class Speed(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A factor, as ``2`` or ``2x``, or ``max``."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; infinity is as fast as it goes."""
        text = str(value).strip().lower()
        if text == "max":
            return math.inf
        try:
            speed = float(text.removesuffix("x"))
        except ValueError:
            speed = math.nan
        if not speed > 0:
            self.fail(f"{value!r} is no speed; expected a factor such as 2 or 0.5, or max.", param, ctx)
        return speed


@click.command(epilog=fields_text(EventDocument))
@click.argument("session")
@click.option(
    "--speed", metavar="X", type=Speed(), default="1", show_default=True, help="2 is twice as fast; max: at once."
)
@click.option("--max-gap", metavar="S", type=click.FloatRange(min=0), help="No pause longer than S seconds.")
@json_option
@db_option
def command(session: str, *, speed: float, max_gap: float | None, as_json: bool, db: str | None) -> None:
    """Play a session again: its events, with the pauses that lay between them.

    SESSION is an id, the beginning of one, or "last". The events pass through a hub, as they did when they were
    recorded. Ctrl-C ends it.

    \b
    Examples:
      sonde replay last --speed 10 --max-gap 2
      sonde replay fix-42 --speed max --json | my-dashboard
    """
    with open_for_reading(db) as store:
        stream_id = resolve_session(store, session)
        show = EventPrinter(as_json=as_json)
        began_s = time.monotonic()
        shown = Playback(store, stream_id, speed=speed, max_gap_s=max_gap).run(show)
    note(f"({plural(shown, 'event')} in {duration_text(time.monotonic() - began_s)})")


class Playback:
    """Replays a stream into a hub on a thread of its own, while the caller's thread shows what the hub delivers.

    The replay is never more than 1,000 events ahead of what was shown: the live bounds of the hub would drop the rest.
    """

    def __init__(self, store: EventStore, stream_id: str, *, speed: float, max_gap_s: float | None) -> None:
        self._store = store
        self._stream_id = stream_id
        self._speed = speed
        self._max_gap_s = max_gap_s
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._hub = Hub(HubConfig(rate_limit=None, queue_size=2 * _AHEAD, flush_interval_s=0.02))

    def run(self, show: Callable[[Event], object]) -> int:
        """Show all; says how many. Ends early, and cleanly, with whatever ``show`` raises."""
        subscription = self._hub.subscribe(queue_size=2 * _AHEAD)
        player = threading.Thread(target=self._play, name="sonde-replay", daemon=True)
        player.start()
        shown = 0
        try:
            for event in subscription:
                show(event)
                shown += 1
                self._room.release()
        finally:
            self._stopped.set()
            self._room.release()
            player.join()
        if self._error is not None:
            raise self._error
        return shown

    def _play(self) -> None:
        try:
            events = self._store.read(self._stream_id)
            replay(events, self._publish, speed=self._speed, max_gap_s=self._max_gap_s, sleep=self._stopped.wait)
        except _StoppedError:
            return
        except Exception as error:  # noqa: BLE001  # handed to the thread that waits
            self._error = error
        finally:
            self._hub.close()

    def _publish(self, event: Event) -> None:
        self._room.acquire()
        if self._stopped.is_set():
            raise _StoppedError
        self._hub.publish(event)


class _StoppedError(Exception):
    """Nobody looks any more."""
