"""The price feed over real sockets: what upstreams ask becomes a sheet, and a feed that lies never does."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.config import (
    BearerAccess,
    GonkaAccess,
    NodeSettings,
    PriceFeedSettings,
    RateSettings,
    Secret,
    UpstreamSettings,
)
from tallygate.core.pricing import Price, Sheet, UpstreamRate, revised
from tallygate.core.repricing import PriceBounds
from tallygate.core.signing import Scheme, SigningKey
from tallygate.network.feeds.prices import PriceFeed
from tallygate.network.feeds.quotes import BearerPrices, NodePrices
from tallygate.network.feeds.rate import FixedRate
from tallygate.storage.embedded import EmbeddedLedger
from tallygate.storage.memory import MemoryDisk, MemoryJournal
from tests.network.feeds.web import Web, World
from tests.network.scripted_server import PATIENT, answer, client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.network.client import HttpClient
    from tallygate.network.feeds.quotes import PriceSource

GNK = 620_000_000_000
WALLET = SigningKey.from_hex("5e" * 32)
MODEL = "Org/Model"
NODE = "/v1/governance/pricing"
SHOWN_ZERO = {"data": [{"id": MODEL, "pricing": {"prompt": "0", "completion": "0", "request": "0"}}]}
SESSION = {"escrow_id": "42", "balance": 5 * 10**9, "config": {"token_price": 1, "fee_per_nonce": 1000}}


def upstream(
    web: Web, *, kind: str = "gonka", program: Any = "other", models: dict[str, str] | None = None, ngonka: int = 0
) -> UpstreamSettings:
    """Return an upstream at this server."""
    access = (
        GonkaAccess((WALLET,), Scheme.HASH, (NodeSettings(web.url, web.origin, b"", WALLET.address),))
        if kind == "gonka"
        else BearerAccess(web.origin, b"/v1", Secret("zebra"))
    )
    rate = UpstreamRate(ngonka, ngonka, 1000 * ngonka)
    return UpstreamSettings(
        name=kind,
        models=models,
        priority=0,
        weight=1,
        bills_to_end=True,
        tokens_floor=1,
        rate=rate,
        timeouts=PATIENT,
        ca_file=None,
        access=access,
        program=program,
    )


def source(settings: UpstreamSettings, http: HttpClient) -> PriceSource:
    """Return an upstream as somebody who says what models cost."""
    if isinstance(settings.access, GonkaAccess):
        return NodePrices(settings, settings.access, http)
    return BearerPrices(settings, settings.access, http)


class Market:
    """A price feed with its ledger and its world."""

    def __init__(self, ledger: EmbeddedLedger, http: HttpClient) -> None:
        self.world, self.ledger, self._http = World(), ledger, http
        self.billed: dict[tuple[str, str], UpstreamRate] = {}

    def feed(self, *upstreams: UpstreamSettings, listed: bool = False, rate: int | None = GNK) -> PriceFeed:
        """Return a feed that may move prices by half."""
        settings = PriceFeedSettings(listed, 0, 300.0, 3600.0, PriceBounds(), RateSettings(rate, None))
        sources = [source(one, self._http) for one in upstreams]
        world = self.world

        def follow(name: str, model: str, told: UpstreamRate) -> None:
            self.billed[name, model] = told

        return PriceFeed(settings, sources, FixedRate(rate), self.ledger, [MODEL], world.alarms, world.now_ns, follow)

    @property
    def price(self) -> Price | None:
        """The price in force of the one model."""
        return self.ledger.sheet.prices.get(MODEL)


@contextlib.asynccontextmanager
async def market() -> AsyncIterator[Market]:
    """Lend a market."""
    ledger = EmbeddedLedger(
        MemoryJournal(MemoryDisk(bytes(16))), now_ns=iter(range(10**6)).__next__, entropy=os.urandom
    )
    try:
        await ledger.publish(Sheet(1, 100_000, {}), "test")
        async with client() as http:
            yield Market(ledger, http)
        assert (await ledger.audit()).clean
    finally:
        await ledger.close()


def governance(*prices: Any) -> dict[str, Any]:
    """Return a node's prices of the day."""
    models = [{"id": MODEL, "units_of_compute_per_token": 100, "price_per_token": price} for price in prices]
    return {"unit_of_compute_price": 100, "models": models, "dynamic_pricing_enabled": True}


async def test_a_nodes_price_of_the_day() -> None:
    """The chain's price in ngonka becomes a price in dollars, with what it was made of; calls cost nothing besides."""
    async with market() as made, Web().open() as web:
        web.pages[NODE] = governance(100)
        await made.feed(upstream(web)).refresh()
        assert made.price == Price(62_000, 62_000)
        assert made.ledger.sheet.quotes[MODEL].upstream == "gonka"
        assert made.world.wrong == []


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (governance(0), "its price costs nothing, and only the operator makes a model free"),
        (governance(-1), "its price is negative"),
        (governance("NaN"), "its price is not finite"),
        (answer(b'{"models":[{"id":"Org/Model","price_per_token":NaN}]}'), "its price is not finite"),
        (governance(1e308), "its price is out of all bounds"),
        (governance(None), "its price is missing"),
        (governance(1000), "its price moves further at a time than it may"),
        (governance(10), "its price moves further at a time than it may"),
        (governance(10**9), "its price is outside of the bounds"),
    ],
)
async def test_a_node_that_lies(told: Any, reason: str) -> None:
    """A price that cannot be believed changes nothing and is one alarm until the node tells a good one again."""
    async with market() as made, Web().open() as web:
        feed = made.feed(upstream(web))
        web.pages[NODE] = governance(100)
        await feed.refresh()
        sheet = made.ledger.sheet
        web.pages[NODE] = told
        await feed.refresh()
        await feed.refresh()
        assert made.ledger.sheet is sheet
        assert made.world.wrong == [("price_refused", f"{MODEL} at gonka", reason)]
        web.pages[NODE] = governance(110)
        await feed.refresh()
        assert (made.price, made.world.wrong) == (Price(68_200, 68_200), [])
        assert [event.level for event in made.world.told] == ["error", "info"]


async def test_a_node_that_falls_silent() -> None:
    """A node without an answer is represented by its last one for a while; then its silence is an alarm."""
    async with market() as made, Web().open() as web:
        feed = made.feed(upstream(web))
        web.pages[NODE] = governance(100)
        await feed.refresh()
        for page in (None, answer(b"no"), answer(b"{}", status=b"503 Service Unavailable"), {"models": "many"}):
            web.pages[NODE] = page
            await feed.refresh()
        assert made.world.wrong == []
        made.world.pass_s(3601)
        await feed.refresh()
        assert [(kind, subject) for kind, subject, _ in made.world.wrong] == [("prices_stale", "gonka")]
        assert made.price == Price(62_000, 62_000)


async def test_the_gateway_program_by_its_escrow() -> None:
    """The network's gateway program shows zeros for its models; its escrow's price and fee count."""
    async with market() as made, Web().open() as web:
        web.pages |= {"/v1/models": SHOWN_ZERO, "/v1/status": SESSION}
        await made.feed(upstream(web, kind="openai", program="devshardctl")).refresh()
        assert made.price == Price(620, 620, 620_000)
        assert web.asked == [("/v1/models", "Bearer zebra"), ("/v1/status", "Bearer zebra")]


async def test_a_broker_that_runs_it_by_what_it_bills() -> None:
    """Where the escrow is not shown, what the operator says that the broker bills is turned into dollars."""
    async with market() as made, Web().open() as web:
        web.pages["/v1/models"] = SHOWN_ZERO
        await made.feed(upstream(web, kind="openai", program="openbroker", ngonka=1)).refresh()
        assert made.price == Price(620, 620, 620_000)


async def test_a_broker_by_its_list() -> None:
    """Another broker's dollars per token count as they are; its zeros are refused, and never free."""
    async with market() as made, Web().open() as web:
        feed = made.feed(upstream(web, kind="openai", models={MODEL: "org/model-1"}), rate=None)
        pricing = {"prompt": "0.00000000035", "completion": "0.0000000014", "request": "0"}
        web.pages["/v1/models"] = {
            "data": [{"id": "Org/Model-1", "pricing": pricing}, {"id": "other", "pricing": pricing}]
        }
        await feed.refresh()
        assert made.ledger.sheet.prices == {MODEL: Price(350, 1400)}
        web.pages["/v1/models"] = {"data": [{"id": "org/model-1", "pricing": {"prompt": "0", "completion": "0"}}]}
        await feed.refresh()
        assert made.price == Price(350, 1400)
        assert made.world.wrong[0][:2] == ("price_refused", f"{MODEL} at openai")


async def test_of_two_upstreams_the_dearer_counts() -> None:
    """A model that two upstreams serve is priced by the dearer one; when that lies, by the other."""
    async with market() as made, Web().open() as node, Web().open() as broker:
        feed = made.feed(upstream(node), upstream(broker, kind="openai", program="devshardctl"))
        node.pages[NODE] = governance(1)
        broker.pages |= {"/v1/models": SHOWN_ZERO, "/v1/status": SESSION}
        await feed.refresh()
        assert made.ledger.sheet.quotes[MODEL].upstream == "openai"


async def test_listed_models() -> None:
    """With `models = "listed"` what upstreams list is priced besides; an id that no caller could write is left out."""
    async with market() as made, Web().open() as web:
        names = (MODEL.upper(), "New/Model", "odd model", "<b>")
        web.pages[NODE] = {"models": [{"id": name, "price_per_token": 1} for name in names]}
        await made.feed(upstream(web), listed=True).refresh()
        assert sorted(made.ledger.sheet.prices) == ["New/Model", MODEL]


async def test_the_operators_price_stands() -> None:
    """What `prices set` has set is not touched."""
    async with market() as made, Web().open() as web:
        await made.ledger.publish(revised(made.ledger.sheet, {MODEL: Price(5, 5)}), "operator")
        web.pages[NODE] = governance(100)
        await made.feed(upstream(web)).refresh()
        assert made.price == Price(5, 5)


async def test_a_model_that_nobody_prices() -> None:
    """A configured model without any price is an alarm: callers cannot use it."""
    async with market() as made, Web().open() as web:
        web.pages[NODE] = {"models": []}
        feed = made.feed(upstream(web))
        await feed.refresh()
        assert [(kind, subject) for kind, subject, _ in made.world.wrong] == [("model_unpriced", MODEL)]
        web.pages[NODE] = governance(100)
        await feed.refresh()
        assert made.world.wrong == []


async def test_what_upstreams_bill_follows_what_they_tell() -> None:
    """Each upstream is booked at its own price, by its own name of a model, also where the dearer one sets ours."""
    async with market() as made, Web().open() as node, Web().open() as broker:
        names = {MODEL: "org/model-1"}
        feed = made.feed(upstream(node, models=names), upstream(broker, kind="openai", program="devshardctl"))
        node.pages[NODE] = {"models": [{"id": "org/model-1", "price_per_token": 3}]}
        broker.pages |= {"/v1/models": SHOWN_ZERO, "/v1/status": SESSION}
        await feed.refresh()
        assert made.billed == {
            ("gonka", "org/model-1"): UpstreamRate(3, 3, 0),
            ("openai", MODEL): UpstreamRate(1, 1, 1000),
        }


async def test_what_a_lying_feed_tells_is_not_booked() -> None:
    """A price that cannot be believed changes nothing of what the network is taken to bill; a good one does."""
    async with market() as made, Web().open() as web:
        feed = made.feed(upstream(web))
        web.pages[NODE] = governance(100)
        await feed.refresh()
        for lie in (0, -1, "NaN", 1e308, None, 10**9, 1000):
            web.pages[NODE] = governance(lie)
            await feed.refresh()
            assert made.billed == {("gonka", MODEL): UpstreamRate(100, 100, 0)}
        web.pages[NODE] = governance(140)
        await feed.refresh()
        assert made.billed == {("gonka", MODEL): UpstreamRate(140, 140, 0)}


async def test_what_is_billed_is_known_from_the_start() -> None:
    """A feed that has not asked yet books at what the price sheet in force was made of."""
    async with market() as made, Web().open() as web:
        web.pages[NODE] = governance(100)
        await made.feed(upstream(web)).refresh()
        made.billed.clear()
        made.feed(upstream(web))
        assert made.billed == {("gonka", MODEL): UpstreamRate(100, 100, 0)}
