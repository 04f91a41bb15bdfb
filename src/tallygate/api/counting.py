"""Counts requests by route, model and status.

Labels are bounded by the tables of routes, models and codes: nothing that a caller writes is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.edge import CallerVanishedError
from tallygate.api.http import Router
from tallygate.core.errors import Code, Refusal, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tallygate.api.http import Handler, Request, Response, Route
    from tallygate.api.problems import Problems
    from tallygate.ports.meter import Meter
    from tallygate.relay import Sink

VANISHED: Final = 499
"""What nginx has made the usual status of a request whose caller left before it was complete; nobody is sent it."""


class CountingRouter(Router):
    """A router whose requests are counted.

    Args:
        routes: The table of routes.
        problems: Tells the status of a refusal.
        meter: Counts.
    """

    def __init__(self, routes: Iterable[Route], problems: Problems, meter: Meter) -> None:
        self._problems = problems
        self._meter = meter
        super().__init__(route._replace(handler=self._counted(route)) for route in routes)

    def note_missing(self, refusal: Refusal) -> None:
        """Count a request for which there is no route."""
        self._count_refusal("", "", refusal)

    def note_refused(self, route: Route, refusal: Refusal) -> None:
        """Count a request that was refused before its route was asked."""
        self._count_refusal(route.path, "", refusal)

    def _counted(self, route: Route) -> Handler:
        """Return a handler that counts what comes of its requests."""
        path, handler, count = route.path, route.handler, self._meter.request_answered

        async def answer(request: Request, sink: Sink) -> Response | None:
            try:
                response = await handler(request, sink)
            except Refusal as refusal:
                self._count_refusal(path, request.model, refusal)
                raise
            except StoreUnavailableError:
                self._count_refusal(path, request.model, Refusal(Code.STORE_UNAVAILABLE, ""))
                raise
            except CallerVanishedError:
                count(path, request.model, VANISHED, None)
                raise
            except Exception:
                self._count_refusal(path, request.model, Refusal(Code.INTERNAL_ERROR, ""))
                raise
            count(path, request.model, 200 if response is None else response.status, None)
            return response

        return answer

    def _count_refusal(self, path: str, model: str, refusal: Refusal) -> None:
        self._meter.request_answered(path, model, self._problems.status(refusal), refusal.code.value)
