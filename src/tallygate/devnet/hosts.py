"""Which hosts a devnet has, so that a control told at one port can mean another."""

from dataclasses import dataclass

from tallygate.devnet.faults import FaultBook

BEARER = "bearer"
ALL = "all"


@dataclass(slots=True)
class Host:
    """One port's host.

    Attributes:
        name: A node's number, counted from 0, or `bearer`.
        address: Its address on the chain.
        faults: Its faults.
        url: Where it is, without /v1; known when the port is.
    """

    name: str
    address: str
    faults: FaultBook
    url: str = ""


def find_books(hosts: list[Host], wanted: str) -> list[FaultBook]:
    """Gives the fault books of the hosts that a control means: by name, address or URL, or all of them."""
    found = [host for host in hosts if wanted in {ALL, host.name, host.address, host.url, f"{host.url}/v1"}]
    return [host.faults for host in found]
