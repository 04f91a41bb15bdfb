"""What a gateway listens to beside calls: prices, the rate of a GNK, balances; and the alarms that come of it.

The part of the composition root that names the adapters of `network.feeds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tallygate.alarms import Alarms
from tallygate.api.admin.alarms import Lookout
from tallygate.config import BearerAccess
from tallygate.network.asking import LOOK_TIMEOUTS, make_asking_client
from tallygate.network.client import HttpClient
from tallygate.network.feeds.prices import PriceFeed
from tallygate.network.feeds.quotes import BearerPrices, NodePrices
from tallygate.network.feeds.rate import FixedRate, RateSource
from tallygate.network.feeds.trial import Trial, describe_wallet, try_bearer, try_node
from tallygate.network.feeds.wallets import EscrowPurse, NodePurse, WalletWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from tallygate.config import RateSettings, Settings, UpstreamSettings
    from tallygate.network.feeds.quotes import PriceSource
    from tallygate.network.feeds.rate import Rate
    from tallygate.network.feeds.wallets import Purse
    from tallygate.network.pool import UpstreamPool
    from tallygate.storage.embedded import EmbeddedLedger


@dataclass(frozen=True, slots=True)
class Feeds:
    """All that is listened to. `prices` is None where the operator alone sets prices."""

    alarms: Alarms
    wallets: WalletWatch
    prices: PriceFeed | None
    clients: Sequence[HttpClient]

    @property
    def lookout(self) -> Lookout:
        """What the operator may see of it."""
        return Lookout(self.alarms, lambda: self.wallets.wallets)

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is done as long as the gateway runs."""
        return [self.wallets.run(), *([] if self.prices is None else [self.prices.run()])]

    async def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            await client.close()


def build_feeds(
    settings: Settings, ledger: EmbeddedLedger, now_ns: Callable[[], int], upstreams: UpstreamPool
) -> Feeds:
    """Return what listens; nothing is asked before its chores run. What upstreams bill follows what they tell."""
    alarms = Alarms(ledger.tell, now_ns)
    clients = [make_asking_client(upstream.ca_file) for upstream in settings.upstreams]
    ways = list(zip(settings.upstreams, clients, strict=True))
    purses = [purse for upstream, client in ways if (purse := make_purse(upstream, client)) is not None]
    wallets = WalletWatch(settings.wallets, purses, alarms, now_ns)
    if settings.prices is None:
        return Feeds(alarms, wallets, None, clients)
    clients.append(HttpClient(timeouts=LOOK_TIMEOUTS, connections_max=1))
    prices = PriceFeed(
        settings.prices,
        [make_price_source(upstream, client) for upstream, client in ways if upstream.tells_prices],
        _make_rate(settings.prices.rate, clients[-1], alarms, ledger, now_ns),
        ledger,
        [model.card.id for model in settings.models],
        alarms,
        now_ns,
        upstreams.follow,
    )
    return Feeds(alarms, wallets, prices, clients)


async def try_upstreams(settings: Settings) -> list[Trial]:
    """Try every way to the network, and look at what pays there, without spending anything."""
    trials: list[Trial] = []
    for upstream in settings.upstreams:
        access, client = upstream.access, make_asking_client(upstream.ca_file)
        if isinstance(access, BearerAccess):
            trials.append(await try_bearer(upstream, access, client))
        else:
            trials += [await try_node(upstream, node, client) for node in access.nodes]
        purse, floors = make_purse(upstream, client), settings.wallets.floors
        low = floors.escrowed_ngonka if isinstance(access, BearerAccess) else floors.spendable_ngonka
        trials += [describe_wallet(wallet, low) for wallet in (purse and await purse.look(0)) or ()]
        await client.close()
    return trials


def make_price_source(upstream: UpstreamSettings, client: HttpClient) -> PriceSource:
    """Return an upstream as somebody who says what models cost."""
    access = upstream.access
    if isinstance(access, BearerAccess):
        return BearerPrices(upstream, access, client)
    return NodePrices(upstream, access, client)


def make_purse(upstream: UpstreamSettings, client: HttpClient) -> Purse | None:
    """Return what pays an upstream, None where nobody tells."""
    access = upstream.access
    if not isinstance(access, BearerAccess):
        return NodePurse(upstream, access, client)
    return EscrowPurse(upstream, access, client) if upstream.program == "devshardctl" else None


def _make_rate(
    settings: RateSettings, client: HttpClient, alarms: Alarms, ledger: EmbeddedLedger, now_ns: Callable[[], int]
) -> Rate:
    if settings.source is None:
        return FixedRate(settings.picousd)
    known = [quote.gnk_picousd for quote in ledger.sheet.quotes.values() if quote.gnk_picousd]
    return RateSource(settings.source, client, alarms, now_ns, known[-1] if known else None)
