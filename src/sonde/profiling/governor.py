"""Governor: keeps what a sampler costs under a bound, by letting it look less often."""

from __future__ import annotations

DEFAULT_CPU_RATIO = 0.01

_SAFETY = 0.9  # what is aimed at, of the bound: the first looks, and those at new code, cost several times the mean
_MEMORY = 0.95  # how much of the mean cost is kept at each look
_INSTALMENTS = 200  # looks over which an overdraft is paid back: the next look must not hang on what this one saw
_MAX_INTERVAL_S = 10.0


class Governor:
    """Gives the mean distance of looks: as asked, or as much longer as their cost demands. For one thread.

    It learns what each look cost in CPU seconds of the sampler's own thread, all of it, waking up included, and holds
    both the recent mean and the whole sum under ``cpu_ratio`` of the time that passes.

    >>> governor = Governor(hz=100, cpu_ratio=0.01)
    >>> for _ in range(100):
    ...     governor.learn(cpu_s=0.001, elapsed_s=0.2)
    >>> round(governor.interval_s, 3)
    0.111
    """

    def __init__(self, *, hz: float, cpu_ratio: float = DEFAULT_CPU_RATIO) -> None:
        self._shortest_s = 1 / hz
        self._target = cpu_ratio * _SAFETY
        self._cost_s: float | None = None
        self._is_first = True
        self.cpu_s = 0.0
        self.elapsed_s = 0.0
        self.interval_s = self._shortest_s

    def learn(self, *, cpu_s: float, elapsed_s: float) -> None:
        """A look cost ``cpu_s``, and ``elapsed_s`` have passed since the last was learnt."""
        self.cpu_s += cpu_s
        self.elapsed_s += elapsed_s
        if self._is_first:
            self._is_first = False  # it meets everything for the first time, and says nothing about the next
            return
        self._cost_s = cpu_s if self._cost_s is None else self._cost_s * _MEMORY + cpu_s * (1 - _MEMORY)
        interval_s = max(self._shortest_s, self._cost_s / self._target)
        debt_s = self.cpu_s - self.elapsed_s * self._target
        if debt_s > 0:
            interval_s += debt_s / self._target / _INSTALMENTS
        self.interval_s = min(interval_s, _MAX_INTERVAL_S)
