"""Keeps the price sheet beside what upstreams ask: looks regularly, holds it against the rules, publishes what moves.

Nothing that goes wrong here touches a price: an upstream that does not answer is represented by its last good answer
for a while, then by none, and a model without any offer keeps the price that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import structlog

from tallygate.core.alarms import AlarmKind
from tallygate.core.askedprices import translate
from tallygate.core.errors import StoreUnavailableError
from tallygate.core.ids import MODEL_ID
from tallygate.core.quoting import QuoteError
from tallygate.core.repricing import rate_of, reprice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tallygate.alarms import Alarms
    from tallygate.config import PriceFeedSettings
    from tallygate.core.askedprices import Offers
    from tallygate.core.pricing import UpstreamRate
    from tallygate.core.quoting import Quote
    from tallygate.core.repricing import Offer
    from tallygate.network.feeds.quotes import PriceSource
    from tallygate.network.feeds.rate import Rate
    from tallygate.ports import Ledger

ACTOR: Final = "network prices"

_log = structlog.get_logger()


class PriceFeed:
    """The prices of the network.

    Args:
        settings: How they are taken.
        sources: Who is asked.
        rate: What a GNK is worth.
        ledger: Has the sheet.
        models: The configured models, by id.
        alarms: Where it is told what goes wrong.
        now_ns: Wall clock in nanoseconds.
        follow: Told what an upstream bills for one of its models, by its name, its model id, and a rate.
    """

    def __init__(
        self,
        settings: PriceFeedSettings,
        sources: Sequence[PriceSource],
        rate: Rate,
        ledger: Ledger,
        models: Sequence[str],
        alarms: Alarms,
        now_ns: Callable[[], int],
        follow: Callable[[str, str, UpstreamRate], None] = lambda _upstream, _model, _rate: None,
    ) -> None:
        self._follow = follow
        self._settings = settings
        self._sources = sources
        self._rate = rate
        self._ledger = ledger
        self._models = models
        self._alarms = alarms
        self._now_ns = now_ns
        self._last: dict[str, tuple[int, Offers]] = {}
        self._bill_by({model: [quote] for model, quote in ledger.sheet.quotes.items()})

    async def run(self) -> None:
        """Refresh for as long as the store takes writes, beginning at once."""
        with contextlib.suppress(StoreUnavailableError):  # readiness tells the operator
            while True:
                await self.refresh()
                await asyncio.sleep(self._settings.interval_s)

    async def refresh(self) -> None:
        """Ask everybody, and publish the next version of the sheet if prices have moved."""
        await asyncio.gather(self._rate.refresh(), *map(self._ask, self._sources))
        self._tell_stale()
        # From here to the publishing nothing is waited for: the sheet that is changed is the one in force.
        sheet, offers = self._ledger.sheet, self._offers()
        settings = self._settings
        after, refused, quotes = reprice(
            sheet, offers, settings.bounds, gnk_picousd=self._rate.picousd, markup_ppm=settings.markup_ppm
        )
        complaints = {f"{model} at {upstream}": f"its price {reason}" for model, upstream, reason in refused}
        self._alarms.keep_only(AlarmKind.PRICE_REFUSED, complaints)
        self._bill_by(quotes)
        if after is not None:
            await self._ledger.publish(after, ACTOR)
            moved = [model for model, price in after.prices.items() if sheet.prices.get(model) != price]
            _log.info("prices published", version=after.version, models=len(after.prices), moved=moved[:100])
        unpriced = [model for model in self._models if model not in self._ledger.sheet.prices]
        self._alarms.keep_only(
            AlarmKind.MODEL_UNPRICED,
            dict.fromkeys(unpriced, "no upstream has told a price for it that can be believed"),
        )

    def _bill_by(self, quotes: Mapping[str, Iterable[Quote]]) -> None:
        """Let the books of what the network bills follow what upstreams tell, by our model ids."""
        names = {source.name: source.models for source in self._sources}
        for model, told in quotes.items():
            for quote in told:
                rate = rate_of(quote, self._rate.picousd)
                if rate is None or quote.upstream not in names:
                    continue
                theirs = names[quote.upstream]
                self._follow(quote.upstream, model if theirs is None else theirs.get(model, model), rate)

    async def _ask(self, source: PriceSource) -> None:
        try:
            self._last[source.name] = self._now_ns(), await source.ask()
        except QuoteError as error:
            _log.warning("an upstream tells no prices", upstream=source.name, detail=str(error))

    def _tell_stale(self) -> None:
        oldest_ns = self._now_ns() - int(self._settings.stale_s * 10**9)
        self._last = {name: (at_ns, told) for name, (at_ns, told) in self._last.items() if at_ns >= oldest_ns}
        silent = [source.name for source in self._sources if source.name not in self._last]
        detail = f"has told no prices for {self._settings.stale_s:g} s, or since the start"
        self._alarms.keep_only(AlarmKind.PRICES_STALE, dict.fromkeys(silent, detail))

    def _offers(self) -> dict[str, list[Offer]]:
        """Return what is asked for each model that may be priced."""
        offers: dict[str, list[Offer]] = defaultdict(list)
        for source in self._sources:
            if source.name not in self._last:
                continue
            _, told = self._last[source.name]
            ours = [*self._models, *self._ledger.sheet.prices]
            for model, offer in translate(told, source.models, ours).items():
                if model in self._models or (self._settings.takes_listed and MODEL_ID.fullmatch(model)):
                    offers[model].append(offer)
        return offers
