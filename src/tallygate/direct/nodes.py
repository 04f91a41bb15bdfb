"""Nodes that requests go to: which there are, by argument or environment, and by which address each is signed for.

In the environment, first found: `GONKA_ENDPOINTS` (`url;address,url;address`), `GONKA_ENDPOINT` (with
`GONKA_PROVIDER_ADDRESS`, or the node says its address itself), `GONKA_SOURCE_URL` (a node that knows the others).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.address import is_address
from tallygate.core.nodes import read_identity
from tallygate.direct.errors import DirectError, EndpointError
from tallygate.direct.network import look_around
from tallygate.direct.web import get, parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

NODES_VARIABLE = "GONKA_ENDPOINTS"
NODE_VARIABLE = "GONKA_ENDPOINT"
PROVIDER_VARIABLE = "GONKA_PROVIDER_ADDRESS"
SOURCE_VARIABLE = "GONKA_SOURCE_URL"


class Node(NamedTuple):
    """One node.

    Attributes:
        url: Its URL, without `/v1`.
        address: The address that it answers as, which requests to it are signed for.
    """

    url: str
    address: str


def make_node(url: str, address: str) -> Node:
    """Return a node.

    Raises:
        EndpointError: One of the two is none.
    """
    if not is_address(address):
        raise EndpointError(f"{address!r} is not an address; a node's begins with gonka1 and has a checksum.")
    return Node(parse_base_url(url), address)


def parse_nodes(text: str) -> tuple[Node, ...]:
    """Return the nodes of a list in the form of `GONKA_ENDPOINTS`.

    Raises:
        EndpointError: A part of it is no node.
    """
    nodes = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        url, _, address = part.partition(";")
        if not address:
            raise EndpointError(f"{part!r} in {NODES_VARIABLE} has no address: write url;address,url;address.")
        nodes.append(make_node(url, address.strip()))
    if not nodes:
        raise EndpointError(f"{NODES_VARIABLE} names no node: write url;address,url;address.")
    return tuple(nodes)


def find_nodes(environ: Mapping[str, str] = os.environ) -> tuple[Node, ...]:
    """Return the nodes that the environment names.

    Raises:
        DirectError: It names none, or they cannot be found out.
    """
    if text := environ.get(NODES_VARIABLE):
        return parse_nodes(text)
    if url := environ.get(NODE_VARIABLE):
        return (resolve_node(url, environ.get(PROVIDER_VARIABLE) or None),)
    if source := environ.get(SOURCE_VARIABLE):
        return tuple(Node(host.url, host.address) for host in look_around(source).usable())
    raise EndpointError(
        f"No node is named. Set {NODES_VARIABLE}=url;address,…, or {NODE_VARIABLE} and {PROVIDER_VARIABLE}, "
        f"or {SOURCE_VARIABLE} to a node that knows the others."
    )


def resolve_node(url: str, provider_address: str | None) -> Node:
    """Return a node by its URL: what it says of itself counts, else the address that was given.

    Raises:
        EndpointError: Nobody knows its address, or the two differ, so that no signature could be right.
    """
    base = parse_base_url(url)
    if provider_address is not None:
        make_node(base, provider_address)
    try:
        address = ask_identity(base)
    except DirectError as error:
        if provider_address is None:
            raise EndpointError(
                f"{base} does not say by which address it goes ({str(error).splitlines()[0]}) "
                f"Name it: --provider-address, or {PROVIDER_VARIABLE}."
            ) from None
        return Node(base, provider_address)
    if provider_address not in (None, address):
        raise EndpointError(
            f"{base} goes by the address {address}, not by {provider_address}: a signature for that would be refused. "
            f"Leave out --provider-address (or {PROVIDER_VARIABLE}), or correct it."
        )
    return Node(base, address)


def ask_identity(url: str) -> str:
    """Return the address that a node says it goes by (`GET /v1/identity`).

    Raises:
        DirectError: It does not say.
    """
    address = get(f"{parse_base_url(url)}/v1/identity").read(read_identity).address
    if not is_address(address):
        raise EndpointError(f"{url} answers /v1/identity without an address.")
    return address
