"""Tries a way to the network without spending anything: does it answer, as whom, with which models, for whose money?"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.alarms import remedy_of
from tallygate.core.askedprices import read_model_ids
from tallygate.core.quoting import QuoteError, decode_exactly, find
from tallygate.core.retry import judge_status
from tallygate.network.asking import look_up

if TYPE_CHECKING:
    from tallygate.config import BearerAccess, NodeSettings, UpstreamSettings
    from tallygate.core.wallets import Wallet
    from tallygate.network.asking import Told
    from tallygate.network.client import HttpClient


class Trial(NamedTuple):
    """How one place was found.

    Attributes:
        upstream: The upstream's configured name.
        place: What of it was tried.
        ok: Whether calls can be expected to go through.
        detail: What it said, or what to do.
    """

    upstream: str
    place: str
    ok: bool
    detail: str


async def try_bearer(upstream: UpstreamSettings, access: BearerAccess, client: HttpClient) -> Trial:
    """Ask a Bearer upstream for its models, under our key."""
    place = f"{access.origin}{access.base_path.decode()}"
    told = await look_up(client, access.origin, access.base_path + b"/models", access.authorization)
    if told is None or told.status != 200:
        return Trial(upstream.name, place, ok=False, detail=_explain(told, signed=False))
    try:
        models = read_model_ids(told.body)
    except QuoteError:
        return Trial(upstream.name, place, ok=False, detail="answers, but lists no models: is base_url right?")
    listed = {model.lower() for model in models}
    missing = [theirs for theirs in (upstream.models or {}).values() if theirs.lower() not in listed]
    if missing:
        return Trial(
            upstream.name, place, ok=False, detail=f"does not list {', '.join(missing)}; it lists {_some(models)}"
        )
    return Trial(upstream.name, place, ok=True, detail=f"lists {_some(models)}")


async def try_node(upstream: UpstreamSettings, node: NodeSettings, client: HttpClient) -> Trial:
    """Ask a node who it is: a signature for another address is refused."""
    told = await look_up(client, node.origin, node.base_path + b"/v1/identity")
    if told is None or told.status not in {200, 404}:
        return Trial(upstream.name, node.url, ok=False, detail=_explain(told, signed=True))
    if told.status == 404:
        return Trial(upstream.name, node.url, ok=True, detail="answers, and does not say who it is (before 0.2.6)")
    try:
        address = find(decode_exactly(told.body), "/data/address")
    except QuoteError:
        address = None
    if address != node.address:
        return Trial(
            upstream.name, node.url, ok=False, detail="answers as another address: correct `address` of the node"
        )
    return Trial(upstream.name, node.url, ok=True, detail=f"answers as {node.address}")


def describe_wallet(wallet: Wallet, low_ngonka: int) -> Trial:
    """Say what a wallet, or an escrow, is good for."""
    has = (
        ", ".join(f"{ngonka} ngonka {state}" for state, ngonka in wallet.amounts.items()) or "nobody tells its balance"
    )
    is_low = any(ngonka < low_ngonka for ngonka in wallet.amounts.values())
    if wallet.is_published is False:
        has += "; the network does not know its key: publish it by any transaction from it"
    ok = not is_low and wallet.is_published is not False
    return Trial(wallet.upstream, wallet.subject, ok, has + ("; this is low" if is_low else ""))


def _explain(told: Told | None, *, signed: bool) -> str:
    if told is None:
        return "gives no answer: check its URL, its certificate, and this machine's network"
    detail = judge_status(told.status, {}, told.body, signed=signed).detail
    return f"answers with status {told.status}: {detail}. {remedy_of(detail)}"


def _some(models: list[str]) -> str:
    shown = ", ".join(models[:5])
    return f"{len(models)} models: {shown}{', …' if len(models) > 5 else ''}" if models else "no models"
