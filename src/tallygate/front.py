"""What stands in front of the routes, as the settings have it: the gate, and what describes them.

The part of the composition root that puts listeners together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tallygate.api.cors import Cors
from tallygate.api.edge import Edge
from tallygate.api.gate import Gate
from tallygate.api.openapi import CALLERS, OPERATOR, OpenApi, describe_routes
from tallygate.api.pages import Pages
from tallygate.api.server import HttpServer
from tallygate.api.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.admin import AdminApi
    from tallygate.api.callers import Callers
    from tallygate.api.http import Route, Router
    from tallygate.api.problems import Problems
    from tallygate.config import EdgeSettings, ServerSettings
    from tallygate.core.catalog import Catalog
    from tallygate.ports import Ledger, Upstreams


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


def build_admin_edge(
    settings: EdgeSettings,
    router: Router,
    admin: AdminApi,
    problems: Problems,
    mint_id: Callable[[], str],
    now_s: Callable[[], float],
) -> Edge:
    """Return the operator's routes behind their gate: failed keys are counted, what the operator does is not."""
    allowance = replace(settings, requests_per_minute_per_address=None)
    gate = Gate(router=router, callers=admin.key, problems=problems, mint_id=mint_id, now_s=now_s, allowance=allowance)
    return Edge(router, problems, mint_id, gate)


def build_admin_server(settings: EdgeSettings, edge: Edge) -> HttpServer:
    """Return the operator's listener, not yet listening."""
    return HttpServer(edge, gate=edge.gate, turnstile=Turnstile(settings.failed_keys_per_second))


def build_public_server(settings: ServerSettings, edge: Edge) -> HttpServer:
    """Return the callers' listener, not yet listening."""
    timeouts = {"head_s_max": settings.header_timeout_s, "body_s_max": settings.body_timeout_s}
    turnstile = Turnstile(settings.edge.failed_keys_per_second)
    return HttpServer(edge, gate=edge.gate, turnstile=turnstile, **timeouts)


def describe_public(
    routes: Sequence[Route],
    ledger: Ledger,
    catalog: Catalog,
    upstreams: Upstreams,
    problems: Problems,
    *,
    public_models: bool,
) -> list[Route]:
    """Return the routes that describe the callers' routes, and themselves: for people, and for programs."""
    described = [*routes]
    pages = Pages(
        ledger=ledger,
        catalog=catalog,
        upstreams=upstreams,
        public_models=public_models,
        describe=lambda: describe_routes(described, CALLERS, problems),
    )
    described += pages.routes()
    described += OpenApi(described, CALLERS, problems).routes()
    return described[len(routes) :]


def describe_admin(routes: Sequence[Route], admin: AdminApi, problems: Problems) -> list[Route]:
    """Return the route that describes the operator's routes, for whoever has the admin key."""
    return [admin.guard(route) for route in OpenApi(routes, OPERATOR, problems).routes()]
