"""Which nodes of the network may be asked, as the network itself tells it.

The participants of the current epoch, without those that were excluded since it began, and only those whose address the
chain allows to take calls; an empty list of allowed addresses allows all. A node may name others that take calls for it
(`delegate_ta`): then one of these is asked, but what is signed is the node's own address.

Everything here reads what a stranger has sent: it is of the network's shape, or `NonsenseError`. Gateways and direct
developers read it by the same rules.
"""

from __future__ import annotations

import contextlib
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
    """Who takes part in the current epoch.

    Attributes:
        address: On the chain.
        url: The node's, as it was registered.
        models: What it serves.
        excluded: Why the network has left it out since the epoch began; None if it has not.
    """

    address: str
    url: str
    models: tuple[str, ...] = ()
    excluded: str | None = None


class Identity(NamedTuple):
    """Who a node says that it is, and the URLs of those that take calls for it."""

    address: str
    delegates: tuple[str, ...]


class _Active(msgspec.Struct):
    index: str
    inference_url: str
    models: list[str] | None = None


class _ActiveParticipants(msgspec.Struct):
    participants: list[msgspec.Raw]


class _Excluded(msgspec.Struct):
    address: str
    reason: str = ""


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
    """Return who takes part, each once, in the network's order; whoever is of no use as a node is left out.

    Raises:
        NonsenseError: It is of another shape, names nobody, or names too many.
    """
    epoch = read_shape(body, _Epoch)
    named = epoch.active_participants.participants
    if not 0 < len(named) <= NODES_MAX:
        raise NonsenseError("the list of participants is empty or too long")
    excluded = {one.address: one.reason or "excluded" for one in epoch.excluded_participants or ()}
    found: dict[str, Participant] = {}
    for raw in named:
        with contextlib.suppress(NonsenseError):
            one = read_shape(bytes(raw), _Active)
            if is_address(one.index) and 0 < len(one.inference_url) <= URL_LENGTH_MAX:
                models = tuple(one.models or ())
                found[one.index] = Participant(one.index, one.inference_url, models, excluded.get(one.index))
    if not found:
        raise NonsenseError("no participant has an address and a URL")
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
    """Return the participants that may take calls: not excluded, and allowed; an empty list allows all.

    Raises:
        NonsenseError: None may, which cannot be: who believed it would serve nobody.
    """
    chosen = tuple(one for one in participants if one.excluded is None and (not allowed or one.address in allowed))
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
