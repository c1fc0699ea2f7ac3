"""A recorder's registry: emit once, and have the metrics, too."""

from __future__ import annotations

from pathlib import Path

import pytest

import sonde
from sonde.instrument import FilePrices
from sonde.store import SQLiteStore

SECRET = "sk-ant-api03-" + "a1B2c3D4" * 12


def counts(rec: sonde.Recorder) -> dict[str, float]:
    return {str(one).rsplit(" ", 1)[0]: one.get() for one in rec.registry.counters()}


def test_after_a_flush_everything_before_is_counted() -> None:
    """flush, then registry: each event published before is in it, however many there were and whoever published."""
    with sonde.record(":memory:") as rec:
        for number in range(1, 4):
            for _ in range(20_000):
                rec.emit("tool.completed", tool="t", duration_s=0.5)
            assert rec.flush()
            assert counts(rec) == {"tool_calls_total{tool_name=t}": 20_000 * number}
        assert rec.registry.histogram("tool_duration_seconds", {"tool_name": "t"}).count == 60_000
        assert rec.registry.gauge("active_sessions").get() == 1
    assert rec.registry.gauge("active_sessions").get() == 0


def test_it_counts_what_is_stored(tmp_path: Path) -> None:
    """Priced, redacted and made readable: the labels and figures are those of the file, and no secret is among them."""
    prices = tmp_path / "prices.toml"
    prices.write_text('date = 2026-11-01\n\n[models."m"]\ninput_tokens = 1_000_000\n')
    with sonde.record(":memory:", prices=FilePrices(prices)) as rec:
        with rec.model("m") as call:
            call.set(input_tokens=2)
        rec.emit("tool.completed", tool=SECRET)
        rec.emit("tool.completed", tool="odd \ud800", duration_s=float("nan"))
        rec.flush()
        labels = [counter.labels for counter in rec.registry.counters()]
        assert counts(rec)["model_cost_usd_total{model=m,source=computed}"] == 2.0
        assert SECRET not in str(labels)
        assert sum(one.get() for one in rec.registry.counters() if one.name == "tool_calls_total") == 2


def test_without_metrics_the_registry_is_empty() -> None:
    """``metrics=False`` derives nothing, and costs nothing."""
    with sonde.record(":memory:", metrics=False) as rec:
        with rec.tool("t"):
            pass
        assert rec.flush()
        assert rec.registry.families() == []


def test_a_disabled_recorder_has_an_empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SONDE_DISABLED nothing is derived, and asking is harmless."""
    monkeypatch.setenv("SONDE_DISABLED", "1")
    with sonde.record() as rec:
        with rec.tool("t"):
            pass
        assert rec.registry.families() == rec.families() == []


def test_two_recorders_have_their_own() -> None:
    """What one recorder commits is not in the other's registry, even in one store."""
    with SQLiteStore(":memory:") as store:
        one = sonde.record(store=store, session_id="one")
        two = sonde.record(store=store, session_id="two")
        one.emit("tool.completed", tool="t")
        two.emit("tool.completed", tool="u")
        one.close()
        two.close()
        assert counts(one) == {"tool_calls_total{tool_name=t}": 1}
        assert counts(two) == {"tool_calls_total{tool_name=u}": 1}


def test_derived_metrics_come_before_hand_made_ones() -> None:
    """``families()``: how sonde does, then the derived, then the default registry; of one name the derived is first."""
    sonde.record_tool_call("by hand")
    with sonde.record(":memory:") as rec:
        rec.emit("tool.completed", tool="t")
        rec.flush()
        first, second = [family for family in rec.families() if family.name == "tool_calls_total"]
    assert [series.labels["tool_name"] for series in first.series] == ["t"]
    assert "by hand" in [series.labels["tool_name"] for series in second.series]
