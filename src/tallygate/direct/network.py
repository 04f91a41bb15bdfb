"""A look at the network through one node: who takes part, who may take requests, which models there are, at what price.

Nothing that a node says is trusted further than it goes: it is read by the rules of `core.nodes`, as a gateway reads
it, and its word on another node's address is what the network's own clients go by, too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.askedprices import read_governance_pricing
from tallygate.core.nodes import read_allowed, read_participants
from tallygate.core.quoting import Amounts, QuoteError
from tallygate.direct.errors import DirectError, EndpointError
from tallygate.direct.web import get, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.core.nodes import Participant

_PARAMS_PATH = "/chain-api/productscience/inference/inference/params"
HEALTH_S = 5.0


class Host(NamedTuple):
    """One participant of the current epoch.

    Attributes:
        url: Its node's URL, without `/v1`.
        address: Its address.
        models: What it serves.
        excluded: Why the network leaves it out; None if it does not.
        allowed: Whether it may take requests of developers.
    """

    url: str
    address: str
    models: tuple[str, ...]
    excluded: str | None
    allowed: bool


class NetworkView(NamedTuple):
    """What one node says of the network.

    Attributes:
        hosts: The participants of the current epoch.
        prices: Nanogonka per token, by model, now.
    """

    hosts: tuple[Host, ...]
    prices: Mapping[str, int]

    def usable(self) -> Sequence[Host]:
        """Return those that a request can be sent to.

        Raises:
            EndpointError: There is none.
        """
        hosts = [host for host in self.hosts if host.allowed and host.excluded is None]
        if not hosts:
            raise EndpointError("No participant of the network may take requests now: ask again later.")
        return hosts


def look_around(source_url: str) -> NetworkView:
    """Return what a node says of the network.

    Raises:
        DirectError: It does not say who takes part.
    """
    base = parse_base_url(source_url)
    participants = get(f"{base}/v1/epochs/current/participants").read(read_participants)
    return NetworkView(_show_hosts(participants, _ask_allowed(base)), _ask_prices(base))


def is_healthy(url: str) -> bool:
    """Say whether a node answers (`GET /v1/status`)."""
    try:
        return get(f"{url}/v1/status", HEALTH_S).status == 200
    except DirectError:
        return False


def _ask_allowed(base: str) -> frozenset[str]:
    """Return the addresses that may take requests; none if all may, as where a node knows no such list."""
    found = get(base + _PARAMS_PATH)
    return frozenset() if found.status == 404 else found.read(read_allowed)  # 404: before v0.2.9


def _ask_prices(base: str) -> Mapping[str, int]:
    """Return the prices that can be read, which are whole numbers; none where a node does not tell."""
    found = get(f"{base}/v1/governance/pricing")
    try:
        offers = read_governance_pricing(base, found.body) if found.status == 200 else {}
    except QuoteError:
        return {}
    amounts = {model: offer.amounts for model, offer in offers.items() if isinstance(offer.amounts, Amounts)}
    return {model: int(told.input) for model, told in amounts.items() if told.input.isdigit()}


def _show_hosts(participants: Sequence[Participant], allowed: frozenset[str]) -> tuple[Host, ...]:
    hosts = []
    for address, url, models, excluded in participants:
        with contextlib.suppress(EndpointError):
            hosts.append(Host(parse_base_url(url), address, models, excluded, not allowed or address in allowed))
    return tuple(hosts)
