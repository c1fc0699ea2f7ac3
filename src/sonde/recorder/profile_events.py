"""ProfileEvents: what a sampler saw as ``sonde.profile`` events, every ten seconds and at the end."""

from __future__ import annotations

import os
import weakref
from _thread import allocate_lock
from collections.abc import Callable
from typing import Protocol

import msgspec

from sonde.clock import SYSTEM_CLOCK, Clock
from sonde.errors import ProfileError
from sonde.events import Event, EventType
from sonde.failures import FailureLog
from sonde.hub import Ticker
from sonde.profiling import LEAST_CHUNK_BYTES, ChunkWriter, Profile, Sampler
from sonde.recorder.interval import DEFAULT_PROFILE_HZ, DEFAULT_PROFILE_INTERVAL_S, valid_interval_s

BYTES_AN_HOUR = 4 * 1024 * 1024
"""JSON that the profile of a process takes at most, beyond the first 64 KiB."""

FIRST_BYTES = 64 * 1024
"""What may be used at once, after a quiet time too: definitions come in bursts."""


class Allowance:
    """How many bytes may be written now, so that no hour has more than :data:`BYTES_AN_HOUR` and the first burst.

    >>> allowance = Allowance(now_s=0.0)
    >>> allowance.take(60_000, now_s=0.0), allowance.at(now_s=0.0), allowance.at(now_s=10.0)
    (None, 5536, 17186)
    """

    def __init__(self, *, now_s: float) -> None:
        self._room_bytes = float(FIRST_BYTES)
        self._at_s = now_s

    def at(self, *, now_s: float) -> int:
        """What may be written now; below 0 where more was."""
        earned_bytes = (now_s - self._at_s) * BYTES_AN_HOUR / 3600
        return int(min(self._room_bytes + max(0.0, earned_bytes), FIRST_BYTES))

    def take(self, size_bytes: int, *, now_s: float) -> None:
        """So many were written."""
        self._room_bytes = float(self.at(now_s=now_s) - size_bytes)
        self._at_s = now_s


class Looks(Protocol):
    """What is asked of a :class:`~sonde.profiling.Sampler`."""

    def start(self) -> None:
        """Begin."""
        ...

    def take(self) -> Profile:
        """What was counted since the last time."""
        ...

    def stop(self) -> Profile:
        """The same, and end."""
        ...

    def after_fork_in_child(self) -> None:
        """Begin anew in a forked child, with nothing of the parent's."""
        ...


class ProfileEvents:
    """Samples the program all the time, and publishes what was seen at each tick and at the end.

    The samples are those of a :class:`~sonde.profiling.Sampler`: stacks with session, plan, task, operation,
    tool and span, counted, with wall-clock and CPU time. An event has those of one interval; its stacks are defined in
    it, or up to five minutes before. Where room is short an event is put off, or the rarest stacks become ``[more
    stacks]``, counted.

    A forked child goes on by itself, under its own writer, with nothing of its parent's. Raises nothing: failures are
    counted in ``failures`` and logged. The sampler's thread uses at most 1 % of a CPU; an event takes some 5 ms.
    """

    def __init__(
        self,
        *,
        session_id: str,
        hz: float = DEFAULT_PROFILE_HZ,
        interval_s: float | None = DEFAULT_PROFILE_INTERVAL_S,
        sampler: Looks | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Begin nothing yet; ``interval_s`` is ``None`` or 0 for one event at the end.

        ``sampler`` takes the place of one at ``hz``.

        Raises:
            ConfigError: ``hz`` or ``interval_s`` is out of range.
        """
        self._session_id = session_id
        self._interval_s = valid_interval_s(interval_s, "a profile", without="record it only at the end")
        self._is_open = False
        self._publish: Callable[[Event], object]
        self.failures = FailureLog()
        self._clock = clock
        self._sampler: Looks | None = None
        try:
            self._sampler = Sampler(hz=hz) if sampler is None else sampler
        except ProfileError as error:  # this Python cannot be sampled: record the rest
            self.failures.add("profile", str(error), error=error)
        self._begin()

    def _begin(self) -> None:
        self._turn = allocate_lock()
        self._writer = ChunkWriter()
        self._allowance = Allowance(now_s=self._clock.monotonic_s())

    def start(self, ticker: Ticker, publish: Callable[[Event], object]) -> None:
        """Begin to look, and publish by ``ticker``, whoever stops it."""
        if self._sampler is None:
            return
        try:
            self._sampler.start()
        except ProfileError as error:
            self.failures.add("profile", str(error), error=error)
            return
        self._publish = publish
        self._is_open = True
        _ALL.add(self)
        if self._interval_s:
            ticker.every(self._interval_s, self.tick)

    def tick(self) -> None:
        """Publish what was seen since the last time, if there is room for it."""
        with self._turn:
            if self._is_open:
                self._write(least_bytes=0)
        if not self._is_open:
            self._look_no_more()  # close() did not wait for this

    def close(self, timeout_s: float) -> None:
        """Look no more, and publish what was seen last. Idempotent; waits ``timeout_s`` at most."""
        if not self._is_open:
            return
        if not self._turn.acquire(timeout=max(0.0, timeout_s)):
            self._is_open = False  # seen by who holds the turn, unless that one has just looked: hence once more
            if self._turn.acquire(blocking=False):
                self._turn.release()
                self._look_no_more()
            self.failures.add(
                "profile",
                f"cannot publish the last profile within {timeout_s:g} s: the one before is still being made; "
                "raise timeout_s",
            )
            return
        try:
            self._is_open = False
            _ALL.discard(self)
            self._write(least_bytes=LEAST_CHUNK_BYTES, is_last=True)
        finally:
            self._turn.release()

    def _write(self, *, least_bytes: int, is_last: bool = False) -> None:
        sampler = self._sampler
        if sampler is None:
            return
        try:
            now_s = self._clock.monotonic_s()
            room_bytes = max(self._allowance.at(now_s=now_s), least_bytes)
            if room_bytes < LEAST_CHUNK_BYTES:
                return  # the sampler goes on adding up
            profile = sampler.stop() if is_last else sampler.take()
            if not profile.samples:
                return
            # Its comment says the rate in words; the period says it as a number, which events can be merged with.
            data = self._writer.write(msgspec.structs.replace(profile, comments=()), max_bytes=room_bytes)
            self._allowance.take(len(msgspec.json.encode(data)), now_s=now_s)
            self._publish(Event(EventType.PROFILE.value, session_id=self._session_id, data=data))
        except Exception as error:  # noqa: BLE001 - a recorder must not fail for the sake of a profile
            self.failures.add("profile", f"cannot record a profile: {error!r}", error=error)

    def _look_no_more(self) -> None:
        _ALL.discard(self)
        if self._sampler is not None:
            self._sampler.stop()

    def _begin_in_child(self) -> None:
        self._begin()
        self.failures = FailureLog()
        if self._sampler is not None:
            try:
                self._sampler.after_fork_in_child()
            except Exception as error:  # noqa: BLE001 - a fork must not fail for the sake of a profile
                self.failures.add("profile", f"cannot profile a forked child: {error!r}", error=error)


_ALL: weakref.WeakSet[ProfileEvents] = weakref.WeakSet()


def _begin_all_in_child() -> None:
    for events in list(_ALL):
        events._begin_in_child()  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all_in_child)
