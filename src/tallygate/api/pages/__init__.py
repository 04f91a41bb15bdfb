"""The pages for people: quickstart, reference, prices, models. They read, and never change anything.

Each is one document of HTML by itself, without scripts, pictures or anything from elsewhere; what stands in them comes
from the tables of the code (`openapi`, `problems`, `headers`), the price sheet and the models' cards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.api.http import Access, Route
from tallygate.api.pages.frame import MODELS, PAGES, PRICING, QUICKSTART, REFERENCE
from tallygate.api.pages.offers import show_models, show_pricing, withhold_models
from tallygate.api.pages.quickstart import show_quickstart
from tallygate.api.pages.reference import show_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tallygate.api.http import Request, Response
    from tallygate.core.catalog import Catalog
    from tallygate.ports import Ledger, Upstreams
    from tallygate.relay import Sink


class Pages:
    """The routes under `/docs`.

    Args:
        ledger: The books, for the prices in force.
        catalog: The models.
        upstreams: The ways to the network, for whether a model can be had now.
        public_models: Whether everybody may see the list of models.
        describe: Returns the OpenAPI document of the callers' routes.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        catalog: Catalog,
        upstreams: Upstreams,
        public_models: bool,
        describe: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._upstreams = upstreams
        self._public_models = public_models
        self._describe = describe
        self._reference: Response | None = None

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        handlers = {
            QUICKSTART: self.quickstart,
            REFERENCE: self.reference,
            PRICING: self.pricing,
            MODELS: self.models,
        }
        return [
            Route("GET", path, handlers[path], f"The page for people: {title}.", access=Access.OPEN)
            for path, title in PAGES.items()
        ]

    async def quickstart(self, _: Request, __: Sink) -> Response:
        """Show how to begin."""
        return show_quickstart()

    async def reference(self, _: Request, __: Sink) -> Response:
        """Show all routes; they stay the same for as long as the process runs, so the page is drawn once."""
        if self._reference is None:
            self._reference = show_reference(self._describe())
        return self._reference._replace(headers=[*self._reference.headers])

    async def pricing(self, _: Request, __: Sink) -> Response:
        """Show what the models cost."""
        sheet = self._ledger.sheet
        return show_pricing(sheet, self._catalog.offered(sheet))

    async def models(self, _: Request, __: Sink) -> Response:
        """Show what the models can."""
        if not self._public_models:
            return withhold_models()
        return show_models(self._catalog.offered(self._ledger.sheet), self._upstreams.works)
