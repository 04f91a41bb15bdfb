"""What stands in front of the public routes, as the settings have it: the gate, and which web pages may call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.api.cors import Cors
from tallygate.api.edge import Edge
from tallygate.api.gate import Gate
from tallygate.api.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.api.callers import Callers
    from tallygate.api.http import Router
    from tallygate.api.problems import Problems
    from tallygate.config import EdgeSettings, ServerSettings


def build_public_edge(
    settings: EdgeSettings,
    router: Router,
    callers: Callers,
    problems: Problems,
    mint_id: Callable[[], str],
    now_s: Callable[[], float],
) -> Edge:
    """Return the callers' routes behind their gate."""
    gate = Gate(router=router, callers=callers, problems=problems, mint_id=mint_id, now_s=now_s, allowance=settings)
    cors = Cors(settings.cors_origins) if settings.cors_origins else None
    return Edge(router, problems, mint_id, gate, cors)


def build_public_server(settings: ServerSettings, edge: Edge) -> HttpServer:
    """Return the callers' listener, not yet listening."""
    timeouts = {"head_s_max": settings.header_timeout_s, "body_s_max": settings.body_timeout_s}
    return HttpServer(edge, gate=edge.gate, **timeouts)
