"""Prices: each token is paid once, and what nobody knows is called unknown."""

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sonde.errors import ConfigError
from sonde.events import Event, PublishedEvent
from sonde.instrument import FilePrices, GenaiPrices, NoPrices, PriceTable, default_prices, price
from sonde.instrument.genai_prices import newest_start

NOVEMBER_NS = 1_793_500_000_000_000_000
TOML = """
date = 2026-11-01
name = "contract"
[models."claude-*"]
input_tokens = 3.0
output_tokens = 15
cache_read_tokens = 0.3
[models."azure/claude-*"]
input_tokens = 100
[models.claude-exact]
input_tokens = 1
"""


@pytest.fixture
def table(tmp_path: Path) -> FilePrices:
    path = tmp_path / "prices.toml"
    path.write_text(TOML)
    return FilePrices(path)


def today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def completed(**data: Any) -> Event:
    return Event("model.completed", time_ns=NOVEMBER_NS, span_id="ab" * 8, data=data)


def test_a_cost_is_added_to_a_copy(table: FilePrices) -> None:
    """The event keeps its class and all else; the original isn't changed; table and date are named."""
    event = PublishedEvent("model.completed", writer_id="w", seq=3, data={"model": "claude-x", "input_tokens": 1_000})
    priced = price(event, table)
    assert event.data == {"model": "claude-x", "input_tokens": 1_000}
    assert type(priced) is PublishedEvent
    assert (priced.writer_id, priced.seq) == ("w", 3)
    assert priced.data == {
        **event.data,
        "cost_usd": 0.003,
        "cost_source": "computed",
        "price_table": "contract",
        "price_date": "2026-11-01",
    }


@pytest.mark.parametrize(
    "event",
    [
        completed(model="claude-x"),
        completed(model="claude-x", input_tokens=None),
        completed(model="claude-x", input_tokens=5, cost_usd=0.0, cost_source="reported"),
        Event("model.started", data={"model": "claude-x", "input_tokens": 5}),
        Event("tool.completed", data={"model": "claude-x", "input_tokens": 5}),
    ],
)
def test_other_events_stay_the_same_object(table: FilePrices, event: Event) -> None:
    """No tokens, a cost already, or another type: nothing to add."""
    assert price(event, table) is event


@pytest.mark.parametrize(
    "data",
    [
        {"model": "gpt", "input_tokens": 5},
        {"model": "claude-x", "input_tokens": -5},
        {"model": "claude-x", "input_tokens": "5"},
        {"model": "claude-x", "input_tokens": True},
        {"model": "claude-x", "input_tokens": 5, "cache_write_tokens": 1},  # a kind that the table has no price for
        {"input_tokens": 5},
        {"model": 7, "input_tokens": 5},
    ],
)
def test_what_the_table_does_not_know_is_unknown(table: FilePrices, data: dict[str, Any]) -> None:
    """No guess: the source is ``unknown`` and there is no cost."""
    assert price(completed(**data), table).data == {**data, "cost_source": "unknown"}


@pytest.mark.parametrize("answer", [ValueError("bug"), float("nan"), -1.0, "free"])
def test_a_broken_table_costs_no_event(answer: object) -> None:
    """A table that raises or answers nonsense leaves the cost unknown."""

    class Broken(NoPrices):
        def cost_usd(self, model: str, provider: str | None, **tokens: int) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    assert price(completed(model="m", input_tokens=1), Broken()).data["cost_source"] == "unknown"


def test_exact_names_go_before_patterns(table: FilePrices) -> None:
    """Exact, then in the file's order; ``provider/model`` matches a provider's own prices."""

    def million(model: str, provider: str | None = None) -> float | None:
        return table.cost_usd(model, provider, input_tokens=1_000_000)

    assert million("claude-exact") == 1
    assert million("claude-x") == 3
    assert million("other/claude-x") is None
    assert table.cost_usd("claude-x", None, reasoning_tokens=1_000_000) == 15


def test_a_provider_may_have_its_own_prices(tmp_path: Path) -> None:
    """A pattern with the provider in it holds for that provider alone; JSON works as TOML does."""
    path = tmp_path / "prices.json"
    path.write_text('{"date": "2026-11-01", "models": {"azure/m*": {"input_tokens": 2}, "m*": {"input_tokens": 1}}}')
    table = FilePrices(path)
    assert table.name == "prices.json"
    assert [table.cost_usd("m1", provider, input_tokens=1_000_000) for provider in ("azure", "x", None)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{", "expected a JSON or TOML file"),
        ("[]", "a list"),
        ('{"models": {}}', "date is nothing"),
        ('{"date": "soon", "models": {}}', "date is 'soon'"),
        ('{"date": "2026-11-01"}', "models is nothing"),
        ('{"date": "2026-11-01", "models": {"m": 3}}', "models.m is 3"),
        ('{"date": "2026-11-01", "models": {"m": {"input": 3}}}', "models.m.input is 3"),
        ('{"date": "2026-11-01", "models": {"m": {"input_tokens": -3}}}', "models.m.input_tokens is -3"),
        ('{"date": "2026-11-01", "models": {"m": {"input_tokens": "3"}}}', "models.m.input_tokens is '3'"),
        ('{"date": "2026-11-01", "models": {"m": {"input_tokens": true}}}', "models.m.input_tokens is True"),
        ('{"date": "2026-11-01", "models": {"m": {"input_tokens": NaN}}}', "models.m.input_tokens is nan"),
        ('{"date": "2026-11-01", "models": {}, "currency": "EUR"}', "currency is 'EUR'"),
        ('{"date": "2026-11-01", "models": {}, "name": 3}', "name is 3"),
    ],
)
def test_a_bad_price_file_names_the_key(tmp_path: Path, text: str, key: str) -> None:
    """Nothing is guessed from a file that is wrong."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot read prices") as caught:
        FilePrices(path)
    assert key in str(caught.value)


def test_a_missing_price_file_is_said(tmp_path: Path) -> None:
    """A path that leads nowhere is a setting that cannot work."""
    with pytest.raises(ConfigError, match="No such file"):
        FilePrices(tmp_path / "none.toml")


class TestGenaiPrices:
    """The optional package's table."""

    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("genai_prices")

    def cost(self, **tokens: int) -> float:
        counts = dict.fromkeys(
            ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"), 0
        )
        counts.update(tokens)
        found = GenaiPrices().cost_usd("claude-sonnet-4-5", "anthropic", **counts, time_ns=NOVEMBER_NS)
        assert found is not None
        return found

    def test_cached_tokens_are_paid_once(self) -> None:
        """A call costs the sum of its disjoint parts: none is counted as input and as cached."""
        parts = {"input_tokens": 500, "output_tokens": 50, "cache_read_tokens": 400, "cache_write_tokens": 100}
        each = {key: self.cost(**{key: count}) for key, count in parts.items()}
        assert self.cost(**parts) == pytest.approx(sum(each.values()))
        assert each["cache_read_tokens"] == pytest.approx(self.cost(input_tokens=400) / 10)
        assert each["cache_write_tokens"] == pytest.approx(self.cost(input_tokens=100) * 1.25)

    def test_reasoning_costs_what_output_costs(self) -> None:
        """Reasoning tokens are no part of ours of ``output_tokens``, and are paid like them."""
        assert self.cost(output_tokens=30, reasoning_tokens=70) == pytest.approx(self.cost(output_tokens=100))

    def test_the_table_and_its_version_are_named(self) -> None:
        """The package's version, and the newest day on which a price of it began, which is not in the future."""
        data = price(completed(model="claude-sonnet-4-5", provider="anthropic", input_tokens=9), default_prices()).data
        assert data["cost_source"] == "computed"
        assert data["price_table"].startswith("genai-prices 0.")
        assert "2026-01-01" <= dt.date.fromisoformat(data["price_date"]).isoformat() <= today()

    def test_the_date_is_the_newest_start_of_a_price(self) -> None:
        """Starts that are only announced don't count; a table without any start has no date."""
        from genai_prices.data_snapshot import get_snapshot

        providers = get_snapshot().providers
        text = Path(str(sys.modules["genai_prices.data"].__file__)).read_text()
        starts = {
            dt.date(*map(int, day)) for day in re.findall(r"start_date=datetime.date\((\d+), (\d+), (\d+)\)", text)
        }
        for day in sorted(starts):
            assert newest_start(providers, day) == day.isoformat()
        assert newest_start(providers, max(starts) + dt.timedelta(9)) == max(starts).isoformat()
        assert newest_start(providers, min(starts) - dt.timedelta(1)) == ""

    def test_unknown_models_and_providers_have_no_price(self) -> None:
        """A provider that the table doesn't know might charge anything."""
        for model, provider in (("none-such", None), ("none-such", "anthropic"), ("claude-sonnet-4-5", "my-proxy")):
            assert (
                price(completed(model=model, provider=provider, input_tokens=9), GenaiPrices()).data["cost_source"]
                == "unknown"
            )

    def test_the_package_loads_at_the_first_price(self) -> None:
        """Making the table, and pricing events without tokens, imports nothing."""
        code = (
            "import sys; from sonde.instrument import default_prices, price; from sonde.events import Event\n"
            "table = default_prices(); price(Event('model.completed'), table)\n"
            "assert 'genai_prices' not in sys.modules and 'pydantic' not in sys.modules\n"
            "price(Event('model.completed', data={'model': 'm', 'input_tokens': 1}), table)\n"
            "assert 'genai_prices' in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


def test_tables_fit_the_protocol(table: FilePrices) -> None:
    """Mypy checks the shapes; here each one answers."""
    tables: list[PriceTable] = [table, NoPrices()]
    for one in tables:
        assert (
            one.cost_usd(
                "none-such",
                None,
                input_tokens=1,
                output_tokens=1,
                cache_read_tokens=0,
                cache_write_tokens=0,
                reasoning_tokens=0,
                time_ns=1,
            )
            is None
        )
