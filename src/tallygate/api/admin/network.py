"""The ways to the network, and how they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tallygate.api.http import Response, Route
from tallygate.core.errors import Code, Refusal
from tallygate.core.retry import INFINITY_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Request
    from tallygate.ports import Target, Upstream, Upstreams
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
        data = [_show(upstream) for upstream in self._upstreams.upstreams]
        return Response.json({"data": data})


def _show(upstream: Upstream) -> dict[str, object]:
    return {
        "name": upstream.name,
        "priority": upstream.priority,
        "weight": upstream.weight,
        "network": upstream.describe(),
        "places": [_show_place(place) for place in upstream.places],
    }


def _show_place(place: Target) -> dict[str, object]:
    """Tell how a place stands; times are in milliseconds and seconds, whole ones."""
    standing = place.standing
    out_for_s = standing.out_for_s
    return {
        "node": place.node,
        "url": place.url,
        "state": standing.state.value,
        "reason": standing.reason if standing.is_marked else None,
        "out_for_s": None if out_for_s == INFINITY_S else math.ceil(out_for_s),
        "moved_to": standing.moved_to,
        "in_flight": standing.in_flight,
        "ttft_ms": None if standing.ttft_s is None else round(standing.ttft_s * 1000),
        "recent_failures": [{"ago_s": round(ago_s), "kind": kind} for ago_s, kind in standing.recent],
        "answers": standing.answers,
        "implausible_usage": standing.odd,
        "reported_tokens": standing.reported_tokens,
        "counted_tokens": standing.counted_tokens,
    }
