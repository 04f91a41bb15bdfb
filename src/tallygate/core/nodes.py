"""Which nodes of the network may be asked, as the network itself tells it.

The participants of the current epoch, without those that were excluded since it began, and only those whose address the
chain allows to take calls; an empty list of allowed addresses allows all. A node may name others that take calls for it
(`delegate_ta`): then one of these is asked, but what is signed is the node's own address.

Everything here reads what a stranger has sent: it is of the network's shape, or `NonsenseError`.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from tallygate.core.address import is_address

if TYPE_CHECKING:
    from collections.abc import Sequence

NODES_MAX: Final = 5000
"""More participants than this are nonsense; the network has some hundreds."""

URL_LENGTH_MAX: Final = 300

_Shape = TypeVar("_Shape")


class NonsenseError(ValueError):
    """What the network has said is not of its shape, or cannot be true; never quotes it."""


class Participant(NamedTuple):
    """Who takes part in the current epoch: the address on the chain, and the node's URL as it was registered."""

    address: str
    url: str


class Identity(NamedTuple):
    """Who a node says that it is, and the URLs of those that take calls for it."""

    address: str
    delegates: tuple[str, ...]


class _Active(msgspec.Struct):
    index: str
    inference_url: str = ""


class _ActiveParticipants(msgspec.Struct):
    participants: list[_Active]


class _Excluded(msgspec.Struct):
    address: str


class _Epoch(msgspec.Struct):
    active_participants: _ActiveParticipants
    excluded_participants: list[_Excluded] | None = None


class _Access(msgspec.Struct):
    allowed_transfer_addresses: list[str] | None = None


class _Params(msgspec.Struct):
    transfer_agent_access_params: _Access | None = None


class _ParamsAnswer(msgspec.Struct):
    params: _Params


class _IdentityData(msgspec.Struct):
    address: str
    delegate_ta: dict[str, str] | None = None


class _IdentityAnswer(msgspec.Struct):
    data: _IdentityData


def read_participants(body: bytes) -> Sequence[Participant]:
    """Return who takes part and was not excluded, each once, in the network's order.

    Raises:
        NonsenseError: It is of another shape, names nobody, or names too many.
    """
    epoch = read_shape(body, _Epoch)
    named = epoch.active_participants.participants
    if not 0 < len(named) <= NODES_MAX:
        raise NonsenseError("the list of participants is empty or too long")
    excluded = {one.address for one in epoch.excluded_participants or ()}
    found = {
        one.index: Participant(one.index, one.inference_url)
        for one in named
        if one.index not in excluded and is_address(one.index) and 0 < len(one.inference_url) <= URL_LENGTH_MAX
    }
    return tuple(found.values())


def read_allowed(body: bytes) -> frozenset[str]:
    """Return the addresses that may take calls, empty where all may.

    Raises:
        NonsenseError: It is of another shape.
    """
    access = read_shape(body, _ParamsAnswer).params.transfer_agent_access_params
    return frozenset() if access is None else frozenset(access.allowed_transfer_addresses or ())


def read_identity(body: bytes) -> Identity:
    """Return who a node says that it is.

    Raises:
        NonsenseError: It is of another shape.
    """
    data = read_shape(body, _IdentityAnswer).data
    delegates = tuple(url for url in data.delegate_ta or () if 0 < len(url) <= URL_LENGTH_MAX)
    return Identity(data.address, delegates)


def choose_nodes(participants: Sequence[Participant], allowed: frozenset[str]) -> Sequence[Participant]:
    """Return the participants that may take calls.

    Raises:
        NonsenseError: None may, which cannot be: who believed it would serve nobody.
    """
    chosen = tuple(one for one in participants if not allowed or one.address in allowed)
    if not chosen:
        raise NonsenseError("no participant may take calls")
    return chosen


def is_public_host(host: str) -> bool:
    """Return whether a host may be anywhere in the internet, as far as its name tells.

    A participant registers any URL. Whoever discovers nodes in the internet must not be sent to a service of its own.
    """
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.lower().endswith((".local", ".internal", ".localhost"))


def read_shape(body: bytes, shape: type[_Shape]) -> _Shape:
    """Return an answer in its shape.

    Raises:
        NonsenseError: It has another one.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # raised outside, so that no cause quotes what a stranger has sent
    raise NonsenseError("an answer is not of the network's shape")
