"""`[prices]`, `[gnk]`, `[wallets]` and `program`: what they come to, and each mistake named by its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallygate.config import ConfigError, Settings, parse
from tallygate.core.pricing import UpstreamRate
from tallygate.core.repricing import PriceBounds, RateBounds

BROKER: dict[str, Any] = {"name": "b", "kind": "openai", "base_url": "http://b.example/v1"}
NETWORK: dict[str, Any] = {"source": "network"}
SOURCE: dict[str, Any] = {"url": "https://p.example/x?of=gnk", "pointer": "/usd", "usd_min": "0.1", "usd_max": 5}


def read(upstream: dict[str, Any] | None = None, **sections: Any) -> Settings:
    """Return the settings of these sections and one upstream."""
    return parse(
        {"upstreams": [BROKER | (upstream or {})], **sections},
        environ={},
        read_secret_file=str,
        lines=lambda _: None,
        base_dir=Path("/"),
    )


def test_without_a_word_the_operator_prices_everything() -> None:
    """No feed runs unless it is asked for; wallets are looked at all the same."""
    settings = read()
    assert settings.prices is None
    assert settings.wallets.floors == (10**9, 5 * 10**8)


def test_a_feed_with_a_fixed_rate() -> None:
    """Bounds are exact pico-dollars, per token and per call."""
    prices = read(
        prices=NETWORK | {"usd_per_1m_max": "2.5", "markup_ppm": 7, "models": "listed"}, gnk={"usd": "0.62"}
    ).prices
    assert prices is not None
    assert (prices.takes_listed, prices.markup_ppm, prices.rate.picousd) == (True, 7, 620_000_000_000)
    assert prices.bounds == PriceBounds(1, 2_500_000, 10**12, 500_000, 10_000)


def test_a_rate_that_is_read() -> None:
    """A source has its URL to the last letter of its query, and bounds."""
    prices = read(prices=NETWORK, gnk=SOURCE).prices
    assert prices is not None
    source = prices.rate.source
    assert source is not None
    assert (str(source.origin), source.path, source.pointer) == ("https://p.example", b"/x?of=gnk", "/usd")
    assert source.bounds == RateBounds(10**11, 5 * 10**12, 200_000)


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"gnk": {"usd": 0}}, "gnk.usd"),
        ({"gnk": {"usd": "-1"}}, "gnk.usd"),
        ({"gnk": {"usd": Decimal("NaN")}}, "gnk.usd"),
        ({"gnk": {"pointer": "/usd"}}, "gnk.pointer"),
        ({"gnk": SOURCE | {"usd": 1}}, "gnk.usd"),
        ({"gnk": SOURCE | {"usd_min": 6}}, "gnk.usd_min"),
        ({"gnk": SOURCE | {"usd_min": 0}}, "gnk.usd_min"),
        ({"gnk": SOURCE | {"pointer": "usd"}}, "gnk.pointer"),
        ({"gnk": SOURCE | {"url": "https://p.example/?a b"}}, "gnk.url"),
        ({"gnk": SOURCE | {"url": "https://u:p@p.example/"}}, "gnk.url"),
        ({"gnk": {name: value for name, value in SOURCE.items() if name != "usd_max"}}, "gnk.url"),
        ({"prices": {"source": "web"}}, "prices.source"),
        ({"prices": {"usd_per_1m_min": 0}}, "prices.usd_per_1m_min"),
        ({"prices": {"usd_per_1m_min": 9, "usd_per_1m_max": 8}}, "prices.usd_per_1m_min"),
        ({"prices": {"change_ppm_max": 0}}, "prices.change_ppm_max"),
        ({"wallets": {"low_ngonka": -1}}, "wallets.low_ngonka"),
    ],
)
def test_a_mistake_is_named(sections: dict[str, Any], path: str) -> None:
    """What cannot be is told by its place, and once."""
    with pytest.raises(ConfigError) as found:
        read(**sections)
    assert [problem.path for problem in found.value.problems] == [path]


@pytest.mark.parametrize("program", ["devshardctl", "openbroker"])
def test_the_networks_own_program_has_its_defaults(program: str) -> None:
    """It bills to the end, at its escrow's rate, and gives 3072 tokens; each can be said otherwise."""
    models = {"m": {}, "n": {"default_max_tokens": 4000}, "o": {"max_output_tokens": 100}}
    settings = read({"program": program}, models=models)
    (upstream,) = settings.upstreams
    assert (upstream.bills_to_end, upstream.rate) == (True, UpstreamRate(1, 1, 1000))
    assert [model.card.output_tokens_default for model in settings.models] == [3072, 4000, 100]

    other = read(
        {"program": program, "bills_to_end": False, "cost": {"per_attempt": 5}, "models": {"n": "x"}}, models=models
    )
    assert (other.upstreams[0].bills_to_end, other.upstreams[0].rate) == (False, UpstreamRate(1, 1, 5))
    assert [model.card.output_tokens_default for model in other.models] == [4096, 4000, 100]


def test_anything_else_has_none_of_them() -> None:
    """An upstream of which nothing is said bills what is not known, and stops when it is cut."""
    settings = read(models={"m": {}})
    (upstream,) = settings.upstreams
    assert (upstream.bills_to_end, upstream.rate) == (False, UpstreamRate(0, 0, 0))
    assert settings.models[0].card.output_tokens_default == 4096
