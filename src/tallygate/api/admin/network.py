"""The ways to the network, and how they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.api.http import Response, Route
from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Request
    from tallygate.ports import Upstreams
    from tallygate.relay import Sink


class NetworkRoutes:
    """The routes under `/admin/v1/upstreams`.

    Args:
        upstreams: The ways to the network; None where they are not opened (the command line beside no gateway).
    """

    def __init__(self, upstreams: Upstreams | None) -> None:
        self._upstreams = upstreams

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        summary = "The ways to the network and their places."
        return (Route("GET", "/admin/v1/upstreams", self.list_upstreams, summary),)

    async def list_upstreams(self, _: Request, __: Sink) -> Response:
        """List the ways to the network and whether their places are in the choice."""
        if self._upstreams is None:
            raise Refusal(Code.NOT_FOUND, "Upstreams are known to a running gateway only.")
        data = [
            {
                "name": upstream.name,
                "priority": upstream.priority,
                "weight": upstream.weight,
                "places": [
                    {
                        "node": place.node,
                        "state": "out for good" if place.is_out_for_good else "out" if place.is_out else "ok",
                    }
                    for place in upstream.places
                ],
            }
            for upstream in self._upstreams.upstreams
        ]
        return Response.json({"data": data})
