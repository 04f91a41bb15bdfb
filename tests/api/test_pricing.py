"""The price list: the shapes that others' programs read, exact numbers, one source."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tallygate.api.pricing import PricingApi
from tallygate.core.money import PPM
from tallygate.core.pricelist import list_million, list_unit
from tallygate.core.pricing import CALL_PICOUSD_MAX, FEE_PPM_MAX, Price, revised
from tests.api.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Route
    from tests.api.shop import Shop


def routes(shop: Shop) -> Sequence[Route]:
    """Return the routes over a shop."""
    return PricingApi(callers=shop.callers, ledger=shop.ledger, catalog=shop.catalog).routes()


async def test_gonkagates_shape() -> None:
    """The public list has GonkaGate's members, the sheet's own time, and one price per model, the dearer one."""
    async with open_shop(prices={"House/Model": Price(1300, 1300)}) as shop:
        status, content, _ = await shop.ask(routes(shop), "GET", "/api/v1/public/pricing")

    price = {"network": 0.0013, "platformFee": 0.00013, "total": 0.00143}
    assert status == 200
    assert content == {
        "success": True,
        "data": {
            "updatedAt": "2026-02-08T15:03:20.251Z",
            "fees": {"platformFeeRate": 0.1},
            "models": [
                {
                    "id": "House/Model",
                    "usdPer1MTokens": price,
                    "usdPer1MInputTokens": price,
                    "usdPer1MOutputTokens": price,
                    "usdPerRequest": 0,
                }
            ],
        },
    }


async def test_the_keyed_list_is_the_same() -> None:
    """With a key the same bytes come under the other path, and without one a 401."""
    async with open_shop() as shop:
        public = await shop.ask(routes(shop), "GET", "/api/v1/public/pricing")

        assert await shop.ask(routes(shop), "GET", "/api/v1/pricing", shop.secret) == public
        assert (await shop.ask(routes(shop), "GET", "/api/v1/pricing"))[0] == 401


async def test_monitors_read_what_a_caller_pays() -> None:
    """The monitors' list has one number per model, fee included: of its two prices the dearer one."""
    async with open_shop() as shop:
        status, content, _ = await shop.ask(routes(shop), "GET", "/api/pricing")

    assert status == 200
    assert [(model["id"], model["model_id"], model["usd_per_million_tokens"]) for model in content["models"]] == [
        ("House/Model", "House/Model", 0.0015521),
        ("house/small", "house/small", 0),
    ]
    assert content["models"][0]["input_usd_per_million_tokens"] == 0.0003883


async def test_numbers_are_plain_decimals() -> None:
    """However small a price is, it is written out in digits, never as 1e-06."""
    async with open_shop(prices={"House/Model": Price(1, 1, 1)}, fee_ppm=1) as shop:
        bodies = [(await shop.ask(routes(shop), "GET", path))[2] for path in ("/api/v1/public/pricing", "/api/pricing")]

    assert b'"network":0.000001,"platformFee":0.000000000001,"total":0.000001000001' in bodies[0]
    assert b'"platformFeeRate":0.000001' in bodies[0]
    assert b'"usd_per_million_tokens":0.000001000001' in bodies[1]
    assert b'"usd_per_request":0.000000000001000001' in bodies[1]


async def test_a_new_sheet_is_shown_at_once() -> None:
    """What is published is in the next answer, and its time is the list's."""
    async with open_shop() as shop:
        later = shop.ledger._books
        later._now_ns = lambda: 1_800_000_000 * 10**9
        await shop.ledger.publish(revised(shop.ledger.sheet, {"house/small": Price(5, 7)}), "test")
        _, content, _ = await shop.ask(routes(shop), "GET", "/api/v1/public/pricing")

    assert content["data"]["updatedAt"] == "2027-01-15T08:00:00.000Z"
    assert content["data"]["models"][1]["usdPer1MInputTokens"]["network"] == 0.000005


@given(st.integers(0, 10**9), st.integers(0, FEE_PPM_MAX))
def test_network_and_fee_are_the_total(picousd: int, fee_ppm: int) -> None:
    """Of a million tokens, network price plus fee is the total to the last digit, and no digit is lost."""
    listed = list_million(picousd, fee_ppm)

    assert Decimal(listed.network) + Decimal(listed.fee) == Decimal(listed.total)
    assert Decimal(listed.total) == Decimal(picousd * (PPM + fee_ppm)).scaleb(-12)
    assert isinstance(json.loads(listed.total), int | float)


@given(st.integers(0, CALL_PICOUSD_MAX), st.integers(0, FEE_PPM_MAX))
def test_a_unit_is_listed_without_rounding(picousd: int, fee_ppm: int) -> None:
    """One token or call is listed with its fee exactly, as a plain decimal."""
    listed = list_unit(picousd, fee_ppm)

    assert Decimal(listed) == Decimal(picousd * (PPM + fee_ppm)).scaleb(-18)
    assert "e" not in listed.lower()
