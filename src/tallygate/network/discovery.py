"""Asks the network about itself, in the background: which nodes there are, whether they are quiet, what time it is.

The sources are public nodes: those that are configured for it, else the upstream's own. They are asked in turn until
one gives an answer of the network's shape; what is known stays known until then. None of these questions carries a
credential, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from tallygate.core.chainview import Epoch, Seen, read_block, read_epoch
from tallygate.core.nodes import (
    Identity,
    NonsenseError,
    choose_nodes,
    is_public_host,
    read_allowed,
    read_identity,
    read_participants,
)
from tallygate.network.connection_errors import UpstreamConnectionError
from tallygate.network.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.nodes import Participant
    from tallygate.network.client import HttpClient

EPOCH_PATH: Final = b"/v1/epochs/latest"
PARTICIPANTS_PATH: Final = b"/v1/epochs/current/participants"
IDENTITY_PATH: Final = b"/v1/identity"
PARAMS_PATH: Final = b"/chain-api/productscience/inference/inference/params"
BLOCK_PATH: Final = b"/chain-api/cosmos/base/tendermint/v1beta1/blocks/latest"

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Participants come with the whole block of their epoch, and some hundreds of models."""

IDENTITIES_AT_A_TIME: Final = 8

_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,6})[0-9]*)?Z")
_Read = TypeVar("_Read")


class Source(NamedTuple):
    """Where the network is asked about itself; `base_path` is without `/v1`."""

    origin: Origin
    base_path: bytes


class FoundNode(NamedTuple):
    """A node that was discovered: where it is asked, and the address that is signed for."""

    origin: Origin
    base_path: bytes
    address: str


class NoAnswerError(Exception):
    """A source gave no answer that is of use; the message says why, and quotes nothing.

    Attributes:
        status: Of the answer, where one came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NetworkEye:
    """Looks at one network through its public nodes.

    Args:
        client: Asks; its timeouts are those of questions.
        sources: Whom it asks.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(self, client: HttpClient, sources: Callable[[], Sequence[Source]], now_ns: Callable[[], int]) -> None:
        self._client = client
        self._sources = sources
        self._now_ns = now_ns
        self._turn = 0

    async def look_for_nodes(self) -> Sequence[FoundNode]:
        """Return the nodes that may be asked now, by the first source that tells.

        Raises:
            NoAnswerError: None does.
        """
        why = "there is nobody to ask"
        for source in self._in_turn():
            try:
                participants = await self._ask(source, PARTICIPANTS_PATH, read_participants)
                return await self._place(source, choose_nodes(participants, await self._ask_allowed(source)))
            except (NoAnswerError, NonsenseError) as error:
                why = f"{source.origin}: {error}"
                self._turn += 1
        raise NoAnswerError(why)

    async def look_at_chain(self) -> tuple[Epoch, Seen | None, Source]:
        """Return where the chain is in its epoch, its latest block if that is told, and who says so.

        Raises:
            NoAnswerError: Nobody tells where it is.
        """
        why = "there is nobody to ask"
        for source in self._in_turn():
            try:
                epoch = await self._ask(source, EPOCH_PATH, read_epoch)
                return epoch, await self._look_at_block(source), source
            except (NoAnswerError, NonsenseError) as error:
                why = f"{source.origin}: {error}"
                self._turn += 1
        raise NoAnswerError(why)

    async def _ask_allowed(self, source: Source) -> frozenset[str]:
        """Return who may take calls, empty for all: also where a node knows no such list, as before v0.2.9."""
        try:
            return await self._ask(source, PARAMS_PATH, read_allowed)
        except NoAnswerError as error:
            if error.status == 404:
                return frozenset()
            raise

    async def _look_at_block(self, source: Source) -> Seen | None:
        """Return the latest block; None where it is not told: not every public node shows the chain's own API."""
        with contextlib.suppress(NoAnswerError, NonsenseError):
            time, height = await self._ask(source, BLOCK_PATH, read_block)
            return Seen(height, parse_time_ns(time), self._now_ns())
        return None

    def _in_turn(self) -> Sequence[Source]:
        """Return the sources, beginning with the one that has answered last."""
        sources = self._sources()
        start = self._turn % len(sources) if sources else 0
        return [*sources[start:], *sources[:start]][:5]

    async def _place(self, source: Source, participants: Sequence[Participant]) -> Sequence[FoundNode]:
        """Return where participants are to be asked: at their delegates, where they name some."""
        room = asyncio.Semaphore(IDENTITIES_AT_A_TIME)

        async def find(participant: Participant) -> FoundNode | None:
            node = _locate(participant.url, participant.address, source)
            if node is None:
                return None
            async with room:
                identity = await self._identify(node)
            if identity is None:
                return node
            if identity.address != participant.address:
                return None  # it would refuse what is signed for the address that the chain knows
            places = (_locate(url, participant.address, source) for url in identity.delegates)
            return next((place for place in places if place is not None), node)

        found = await asyncio.gather(*map(find, participants))
        nodes = tuple(dict.fromkeys(node for node in found if node is not None))
        if not nodes:
            raise NonsenseError("no participant has a URL that can be asked")
        return nodes

    async def _identify(self, node: FoundNode) -> Identity | None:
        """Return who a node says that it is; None where it does not say, as older ones do not."""
        with contextlib.suppress(NoAnswerError, NonsenseError):
            return await self._ask(Source(node.origin, node.base_path), IDENTITY_PATH, read_identity)
        return None

    async def _ask(self, source: Source, path: bytes, read: Callable[[bytes], _Read]) -> _Read:
        status = None
        try:
            answer = await self._client.get(source.origin, source.base_path + path)
            body = await answer.read_all(ANSWER_BYTES_MAX)
        except UpstreamConnectionError as error:
            failure = type(error).__name__
        else:
            status = answer.status
            if status == 200:
                return read(body)
            failure = f"status {status}"
        raise NoAnswerError(f"{path.decode()} is not answered ({failure})", status)


def parse_time_ns(text: str) -> int:
    """Return a time of RFC 3339 in nanoseconds since 1970; the chain writes nine digits, of which six are read.

    Raises:
        NonsenseError: It is none.
    """
    found = _TIME.fullmatch(text)
    with contextlib.suppress(ValueError):
        if found is not None:
            moment = datetime.fromisoformat(f"{found[1]}.{(found[2] or '').ljust(6, '0')}+00:00")
            return int(moment.timestamp() * 1_000_000) * 1000
    raise NonsenseError("a time is none")


def _locate(url: str, address: str, source: Source) -> FoundNode | None:
    """Return where a URL leads to, None if nowhere that a stranger may send us."""
    try:
        origin, path = Origin.parse(url.strip())
    except ValueError:
        return None
    if is_public_host(source.origin.host) and not is_public_host(origin.host):
        return None
    return FoundNode(origin, path.removesuffix(b"/v1"), address)
