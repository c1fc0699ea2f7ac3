"""Call: what is known so far of a call that events tell of, so that nothing of it counts twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from sonde.vocabulary import Cost, CostSource

OPEN_CALLS = 8_192
"""Calls that have not ended of which something is remembered: those that began last."""

ENDED_CALLS = 2_048
"""Calls that have ended and are remembered, the newest; what an older one says later counts as another call's."""

_ROUNDING = 1e-9
"""What a sum of costs may differ from the same sum by, as a ratio, without being more."""

_C = TypeVar("_C")


class ToolCall:
    """A call of a tool. Each flag is set when what it names was counted."""

    __slots__ = ("failed", "is_counted", "is_timed", "name", "started_ns")

    def __init__(self) -> None:
        self.name = ""
        self.started_ns = 0
        self.is_counted = False
        self.is_timed = False
        self.failed = False


class ModelCall(ToolCall):
    """A call of a model; ``name`` is the model's.

    Tokens and cost come as increments, as a statement at the end, or as both, in any order. Both tell of the same: what
    was used is the larger of the increments' sum and the largest statement. So each event adds what it states in excess
    of what is counted, and the total does not depend on the order.
    """

    __slots__ = (
        "_counted",
        "_summed",
        "_summed_usd",
        "completed",
        "cost_usd",
        "is_cost_missed",
        "is_first_token_timed",
        "is_usage_observed",
        "missed_name",
        "operation",
        "provider",
    )

    def __init__(self) -> None:
        super().__init__()
        self.provider = ""
        self.operation = ""
        self.completed = False
        self.is_first_token_timed = False
        self.is_usage_observed = False
        self.is_cost_missed = False
        self.missed_name = ""
        self.cost_usd: float | None = None
        self._summed_usd = 0.0
        self._counted: dict[str, int] = {}
        self._summed: dict[str, int] = {}

    @property
    def tokens(self) -> Mapping[str, int]:
        """What it used so far, by token key."""
        return self._counted

    def add_tokens(self, increments: Mapping[str, int]) -> dict[str, int]:
        """Take increments; returns what they are in excess of what is counted."""
        for key, number in increments.items():
            self._summed[key] = self._summed.get(key, 0) + number
        return self.state_tokens({key: self._summed[key] for key in increments})

    def state_tokens(self, stated: Mapping[str, int]) -> dict[str, int]:
        """Take a statement of the whole; returns what it is in excess of what is counted.

        >>> call = ModelCall()
        >>> call.add_tokens({"output_tokens": 5}), call.state_tokens({"output_tokens": 8})
        ({'output_tokens': 5}, {'output_tokens': 3})
        """
        excess: dict[str, int] = {}
        for key, number in stated.items():
            counted = self._counted.get(key)
            if counted is None or number > counted:
                self._counted[key] = number
                excess[key] = number - (counted or 0)
        return excess

    def add_cost(self, cost: Cost) -> tuple[float, CostSource] | None:
        """Take an increment; returns what it is in excess of what is counted, ``None`` if nothing."""
        if cost.usd is None:
            return None
        self._summed_usd += cost.usd
        return self.state_cost(Cost(self._summed_usd, cost.source))

    def state_cost(self, cost: Cost) -> tuple[float, CostSource] | None:
        """Take a statement of the whole; returns what it is in excess of what is counted, ``None`` if nothing.

        The first figure counts even if it is 0: then the cost is known.
        """
        if cost.usd is None or cost.usd < 0:
            return None
        counted = self.cost_usd
        if counted is None:
            self.cost_usd = cost.usd
            return cost.usd, cost.source
        if cost.usd <= counted * (1 + _ROUNDING):
            return None
        self.cost_usd = cost.usd
        return cost.usd - counted, cost.source


class Calls(Generic[_C]):
    """The newest calls by session and span. For one thread."""

    def __init__(self, make: Callable[[], _C]) -> None:
        self._make = make
        self._open: OrderedDict[tuple[str, str], _C] = OrderedDict()
        self._ended: OrderedDict[tuple[str, str], _C] = OrderedDict()

    def __getitem__(self, key: tuple[str, str]) -> _C:
        """The call of a session and span; a new one if it is not remembered, or has no span."""
        call = self._open.get(key)
        if call is None:
            call = self._ended.get(key)
        if call is None:
            call = self._make()
            if key[1]:
                self._open[key] = call
                if len(self._open) > OPEN_CALLS:
                    self._open.popitem(last=False)
        return call

    def end(self, key: tuple[str, str]) -> _C:
        """As ``[key]``, and the call has ended: it need not be remembered for as long."""
        call = self._open.pop(key, None)
        if call is None:
            call = self._ended.get(key)
            if call is not None:
                return call
            call = self._make()
        if key[1]:
            self._ended[key] = call
            if len(self._ended) > ENDED_CALLS:
                self._ended.popitem(last=False)
        return call

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)


def text_of(data: Mapping[str, Any], key: str) -> str:
    """A text in ``data``, empty if there is none."""
    value = data.get(key)
    return value if isinstance(value, str) else ""
