"""What tests of direct access share: blocking calls beside a devnet in the same loop, and developers with money."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from tallygate.direct import Node, new_wallet
from tallygate.direct.web import post

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.signing import SigningKey
    from tallygate.devnet import Devnet

P = ParamSpec("P")
T = TypeVar("T")

BALANCE = 1_000_000_000


async def in_thread(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a blocking call returns, while the loop goes on."""
    return await asyncio.to_thread(act, *args, **kwargs)


def fund(devnet: Devnet) -> SigningKey:
    """Return a wallet that can pay, whose public key is published."""
    wallet = new_wallet()
    devnet.chain.fund(wallet.public_key, BALANCE)
    return wallet


def nodes_of(devnet: Devnet) -> list[Node]:
    """Return a devnet's nodes."""
    return [Node(node.url, node.address) for node in devnet.nodes]


async def control(devnet: Devnet, route: str, index: int = 0, **fields: object) -> None:
    """Tell a devnet's node to do something, by its control routes."""
    found = await in_thread(post, f"{devnet.nodes[index].url}/devnet/{route}", fields)
    assert found.status == 200, found.body


async def open_account(devnet: Devnet, address: str, balance: int) -> None:
    """Give an account a balance, without its public key being published."""
    await control(devnet, "accounts", address=address, balance=balance, publish=False)
