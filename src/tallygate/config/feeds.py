"""From `[prices]`, `[gnk]` and `[wallets]` to settings: a rate that is fixed or asked for, bounds that must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tallygate.config.schema import Root
from tallygate.config.schema.feeds import Gnk, Prices, Wallets
from tallygate.config.settings import PriceFeedSettings, RateSettings, RateSourceSettings, WalletSettings
from tallygate.config.tables import Attempt, Table
from tallygate.core.repricing import PriceBounds, RateBounds
from tallygate.core.wallets import WalletFloors

if TYPE_CHECKING:
    from tallygate.config.keys import Key

_OF_A_SOURCE: Final[tuple[Key[Any], ...]] = (
    Gnk.pointer,
    Gnk.time_pointer,
    Gnk.usd_min,
    Gnk.usd_max,
    Gnk.change_ppm_max,
    Gnk.interval_s,
    Gnk.stale_s,
)


def read_price_feed(root: Table) -> PriceFeedSettings | None:
    """Return how upstreams' prices are taken; None where they are not."""
    table = root.item(Prices, Root.prices)
    rate = Attempt(_read_rate, root)
    bounds = Attempt(_read_bounds, table)
    settings = PriceFeedSettings(
        takes_listed=table[Prices.models] == "listed",
        markup_ppm=table[Prices.markup_ppm],
        interval_s=table[Prices.interval_s],
        stale_s=table[Prices.stale_s],
        bounds=bounds.take(),
        rate=rate.take(),
    )
    return settings if table[Prices.source] == "network" else None


def read_wallets(root: Table) -> WalletSettings:
    """Return when wallets are low."""
    table = root.item(Wallets, Root.wallets)
    floors = WalletFloors(table[Wallets.low_ngonka], table[Wallets.escrow_low_ngonka])
    return WalletSettings(table[Wallets.interval_s], floors)


def _read_bounds(table: Table) -> PriceBounds:
    bounds = PriceBounds(
        token_min=table[Prices.usd_per_1m_min],
        token_max=table[Prices.usd_per_1m_max],
        call_max=table[Prices.usd_per_call_max],
        change_ppm_max=table[Prices.change_ppm_max],
        change_ppm_min=table[Prices.change_ppm_min],
    )
    if not 0 < bounds.token_min <= bounds.token_max:
        raise table.broken(Prices.usd_per_1m_min, "is zero, or above usd_per_1m_max.", "Write a price between the two.")
    return bounds


def _read_rate(root: Table) -> RateSettings:
    table = root.item(Gnk, Root.gnk)
    fixed, url = table[Gnk.usd], table[Gnk.url]
    if url is None:
        for key in _OF_A_SOURCE:
            if table.has(key):
                raise table.broken(key, "stands without url.", "Write url, or remove this.")
        if fixed == 0:
            raise table.broken(Gnk.usd, "says that a GNK costs nothing.", "Write what 1 GNK costs, or remove it.")
        return RateSettings(fixed, None)
    if fixed is not None:
        raise table.broken(Gnk.usd, "stands beside url.", "Remove one of the two.")
    pointer, lowest, highest = (_needed(table, key) for key in (Gnk.pointer, Gnk.usd_min, Gnk.usd_max))
    if not 0 < lowest <= highest:
        raise table.broken(Gnk.usd_min, "is zero, or above usd_max.", "Write a rate between the two.")
    source = RateSourceSettings(
        origin=url.origin,
        path=url.path,
        pointer=pointer,
        time_pointer=table[Gnk.time_pointer],
        bounds=RateBounds(lowest, highest, table[Gnk.change_ppm_max]),
        interval_s=table[Gnk.interval_s],
        stale_s=table[Gnk.stale_s],
    )
    return RateSettings(None, source)


def _needed(table: Table, key: Key[Any]) -> Any:
    value = table[key]
    if value is None:
        raise table.broken(Gnk.url, f"stands without {key.name}.", f"Write {key.name}, too.")
    return value
