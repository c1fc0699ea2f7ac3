"""HubConfig and the other bounds: what is refused, and how it says so."""

import dataclasses
import math
from typing import Any

import pytest

from sonde import hub as room
from sonde.errors import ConfigError
from sonde.hub import Hub, HubConfig

WHOLE = ["queue_size", "batch_size", "subscriber_queue_size"]
REAL = ["flush_interval_s", "rate_limit"]


def test_defaults_are_the_documented_numbers() -> None:
    """``HubConfig()`` has the original's sizes and rates, which have names too."""
    assert dataclasses.astuple(HubConfig()) == (1000, 100, 0.1, 1000, 64)
    assert (
        room.DEFAULT_EVENT_QUEUE_SIZE,
        room.DEFAULT_BATCH_SIZE,
        room.DEFAULT_FLUSH_INTERVAL_S,
        room.DEFAULT_RATE_LIMIT,
        room.DEFAULT_SUBSCRIBER_QUEUE_SIZE,
    ) == (1000, 100, 0.1, 1000, 64)


@pytest.mark.parametrize("name", WHOLE + REAL)
@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, math.inf, "10", True, 10**400], ids=lambda v: repr(v)[:9])
def test_what_is_not_positive_is_refused(name: str, value: Any) -> None:
    """A value that isn't a positive number raises ConfigError, which names it."""
    with pytest.raises(ConfigError, match=f"HubConfig: {name} is .*; expected a positive"):
        HubConfig(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [1.0, 2.5, None])
def test_sizes_are_whole(name: str, value: Any) -> None:
    """A size is an int and nothing else."""
    with pytest.raises(ConfigError, match=name):
        HubConfig(**{name: value})


def test_no_rate_limit_is_a_setting_and_no_interval_is_not() -> None:
    """``rate_limit=None`` is unlimited; an interval is always there."""
    assert HubConfig(rate_limit=None).rate_limit is None
    with pytest.raises(ConfigError, match="flush_interval_s is None"):
        HubConfig(flush_interval_s=None)  # type: ignore[arg-type]


def test_config_is_frozen() -> None:
    """A hub's configuration doesn't change under it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        HubConfig().batch_size = 5  # type: ignore[misc]


def test_bounds_of_subscriptions_are_checked_too() -> None:
    """``subscribe`` and ``subscribe_recorder`` refuse bounds that cannot work, and subscribe nothing then."""
    with Hub() as hub:
        with pytest.raises(ConfigError, match="queue_size is 0"):
            hub.subscribe(queue_size=0)
        with pytest.raises(ConfigError, match="max_pending_bytes is -5"):
            hub.subscribe_recorder(max_pending_bytes=-5)
        with pytest.raises(ConfigError, match=r"types is 'tool.started'.*pass \['tool.started'\]"):
            hub.subscribe(types="tool.started")
        with hub.subscribe() as subscription, pytest.raises(ConfigError, match="max_size is 0"):
            subscription.batches(0)
        assert hub.stats().subscriber_count == 0


def test_the_longest_interval_works() -> None:
    """An interval past what the operating system can wait for ends no thread."""
    with Hub(HubConfig(flush_interval_s=1e300)) as hub, hub.subscribe() as subscription:
        hub.emit("one")
        assert subscription.get(timeout_s=1e300) is not None
        hub.emit("two")
        hub.flush()
        assert subscription.get(timeout_s=10) is not None
        assert hub.stats().failures == {}
