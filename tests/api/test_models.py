"""The list of models: what it says of each, who may read it, and what it does while the network is away."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from tallygate.api.models import ModelApi
from tallygate.core.access import KeyTerms
from tests.api.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Route
    from tallygate.ports import Upstreams
    from tests.api.shop import Shop


def routes(shop: Shop, *, public: bool = False) -> Sequence[Route]:
    """Return the routes over a shop."""
    upstreams = cast("Upstreams", shop)
    return ModelApi(
        callers=shop.callers, ledger=shop.ledger, catalog=shop.catalog, upstreams=upstreams, public=public
    ).routes()


async def test_a_model_has_what_discovery_clients_read() -> None:
    """Beside OpenAI's members stand OpenRouter's: name, limits, what the caller pays, what can be asked."""
    async with open_shop() as shop:
        status, listed, _ = await shop.ask(routes(shop), "GET", "/v1/models", shop.secret)

    model, small = listed["data"]
    parameters = model.pop("supported_parameters")
    assert (status, listed["object"]) == (200, "list")
    assert model == {
        "id": "House/Model",
        "object": "model",
        "created": 0,
        "owned_by": "gonka",
        "canonical_slug": "House/Model",
        "name": "The Model",
        "status": "available",
        "context_length": 8192,
        "architecture": {"modality": "text->text", "input_modalities": ["text"], "output_modalities": ["text"]},
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "pricing": {"prompt": "0.0000000003883", "completion": "0.0000000015521", "request": "0.0000011000033"},
        "top_provider": {"context_length": 8192, "max_completion_tokens": 4096, "is_moderated": False},
        "per_request_limits": None,
        "supported_features": ["tools"],
    }
    assert {"max_tokens", "temperature", "tools", "stream"} <= set(parameters)
    assert (small["id"], small["name"], small["context_length"]) == ("house/small", "house/small", None)
    assert small["pricing"] == {"prompt": "0", "completion": "0", "request": "0"}


@pytest.mark.parametrize("fee_ppm", [0, 1, 99_999, 3_000_000])
async def test_the_listed_price_is_what_a_call_costs(fee_ppm: int) -> None:
    """A call's cost is the listed prices times its tokens, but for the one rounding of its fee to a pico-dollar."""
    async with open_shop(fee_ppm=fee_ppm) as shop:
        _, listed, _ = await shop.ask(routes(shop), "GET", "/v1/models/model", shop.secret)
        price = {name: Decimal(text) for name, text in listed["pricing"].items()}
        base = 353 * 12_345 + 1411 * 678 + 1_000_003
        total = base + (base * fee_ppm + 500_000) // 1_000_000

    assert abs(price["prompt"] * 12_345 + price["completion"] * 678 + price["request"] - Decimal(total).scaleb(-12)) < (
        Decimal(1).scaleb(-12)
    )
    assert "e" not in "".join(listed["pricing"].values()).lower()


async def test_a_model_without_a_working_place_stays_listed() -> None:
    """While every place of a model is left out it is degraded, and it is available again when one is back."""
    async with open_shop() as shop:
        seen: list[Any] = []
        for out in (set[str](), {"House/Model"}, set[str]()):
            shop.out = out
            _, listed, _ = await shop.ask(routes(shop), "GET", "/v1/models", shop.secret)
            seen.append({model["id"]: model["status"] for model in listed["data"]})

    both = {"House/Model": "available", "house/small": "available"}
    assert seen == [both, both | {"House/Model": "degraded"}, both]


async def test_the_list_asks_for_a_key_unless_it_is_public() -> None:
    """Without a key the list is refused, or answers everybody where it is public; a wrong key is refused in both."""
    async with open_shop() as shop:
        asked = [
            (await shop.ask(routes(shop, public=public), "GET", path, key))[0]
            for public in (False, True)
            for path in ("/v1/models", "/v1/models/model")
            for key in (None, "tg-wrong", shop.secret)
        ]

    assert asked == [401, 401, 200, 401, 401, 200, 200, 401, 200, 200, 401, 200]


async def test_a_key_is_shown_what_it_may_use() -> None:
    """A key that may ask for some models finds only those, in the list and one by one."""
    async with open_shop() as shop:
        keys = shop.ledger.keys()
        for key in keys:
            await shop.ledger.change_key(key.id, key.name, KeyTerms(models=frozenset({"house/small"})), "operator")
        _, listed, _ = await shop.ask(routes(shop), "GET", "/v1/models", shop.secret)
        kept = [
            (await shop.ask(routes(shop), "GET", f"/v1/models/{name}", shop.secret))[0]
            for name in ("house/small", "House/Model", "house/unpriced")
        ]

    assert [model["id"] for model in listed["data"]] == ["house/small"]
    assert kept == [200, 403, 404]
