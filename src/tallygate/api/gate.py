"""What refuses a request by its head alone: no such route, too many from one address, a key that is none.

It touches no store, keeps nothing of a key, and counts by address in bounded memory. The routes look at the key again
themselves: this gate only spares making anything for a request that they would refuse.

A key that is good is never refused for what others with the same address have tried. Only failed tries are counted
against that limit, so nobody can lock the callers out who share a proxy with them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from tallygate.api.http import Access
from tallygate.api.wire import RefusalWriter
from tallygate.core.errors import Code, Refusal
from tallygate.core.keys import bearer_token
from tallygate.core.sources import SourceLimit, find_caller, is_within, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.http import Router
    from tallygate.api.problems import Problems
    from tallygate.core.sources import Network

    Heads = Sequence[tuple[bytes, bytes]]

_KEYED: Final = (Access.KEY, Access.TELLS, Access.WELCOME)

PATH_MAX: Final = 32
"""How many proxies may have passed a call on; what a caller puts in front of that is not looked at."""

_FOR: Final = re.compile(rb'(?:^|[;\s])for=(?:"([^"]*)"|([^;,\s"]*))', re.IGNORECASE)
_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


class Keys(Protocol):
    """Who may call a listener's routes."""

    def knows(self, token: bytes | None) -> bool:
        """Say whether a token is a key at all."""

    def refuse_unknown(self) -> Refusal:
        """Return what is said to whoever has none."""


class Allowance(Protocol):
    """What one address may do, and who is believed about addresses. A limit of None is none."""

    @property
    def requests_per_minute_per_address(self) -> int | None:
        """How many requests are taken from it."""

    @property
    def failed_keys_per_minute_per_address(self) -> int | None:
        """How many bad keys are told so."""

    @property
    def trusted_proxies(self) -> Sequence[Network]:
        """Whose word is taken for where a request comes from."""

    @property
    def forwarded_header(self) -> str:
        """Where they say it: `x-forwarded-for` or `forwarded`."""


class Sources:
    """Finds where a request comes from.

    Args:
        allowance: Whose word about that is taken.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._proxies = allowance.trusted_proxies
        self._header = allowance.forwarded_header.encode()
        self.source_of = lru_cache(4096)(source_of)

    def find(self, peer: str, headers: Heads) -> int | None:
        """Return the source of a request from this peer."""
        if not self._proxies:
            return self.source_of(peer)
        values = b",".join([value for name, value in headers if name == self._header])
        path = read_path(values, self._header) if values else ()
        return self.source_of(find_caller(peer, path, self._proxies))

    def is_proxy(self, peer: str) -> bool:
        """Say whether a peer passes on the calls of others."""
        return bool(self._proxies) and is_within(peer, self._proxies)


class Gate:
    """Refuses requests by their heads.

    Args:
        router: The routes.
        callers: Knows the keys.
        problems: How refusals are told.
        mint_id: Returns a new request id.
        now_s: A clock that is never set.
        allowance: What one address may do.
    """

    def __init__(
        self,
        *,
        router: Router,
        callers: Keys,
        problems: Problems,
        mint_id: Callable[[], str],
        now_s: Callable[[], float],
        allowance: Allowance,
    ) -> None:
        self._router = router
        self._callers = callers
        self._writer = RefusalWriter(problems)
        self._mint_id = mint_id
        self._now_s = now_s
        self._sources = Sources(allowance)
        self._requests = _limit(allowance.requests_per_minute_per_address)
        self._failures = _limit(allowance.failed_keys_per_minute_per_address)

    def judge(self, method: str, path: str, headers: Heads, peer: tuple[str, int] | None) -> Refusal | None:
        """Count a request, and return why it is refused, if it is."""
        try:
            route, _ = self._router.find(method, path)
        except Refusal as refusal:
            self._take(self._requests, headers, peer, "requests")
            return refusal.with_traceback(None)
        found = self._weigh(route.access, headers, peer)
        if found is not None:
            self._router.note_refused(route, found)
        return found

    def write(self, refusal: Refusal, headers: Heads, *, has_body: bool) -> bytes:
        """Return a refusal as the bytes of an answer."""
        return self._writer.write(refusal, self._mint_id(), [*headers], has_body=has_body)

    def may_rest(self, peer: tuple[str, int] | None) -> bool:
        """Say whether a connection carries one caller's requests only, so that it can be made to wait."""
        return peer is not None and not self._sources.is_proxy(peer[0])

    def _weigh(self, access: Access, headers: Heads, peer: tuple[str, int] | None) -> Refusal | None:
        refusal = None if access is Access.PROBE else self._take(self._requests, headers, peer, "requests")
        if refusal is None and access in _KEYED and not self._callers.knows(_read_token(headers)):
            if access is Access.WELCOME and not any(name == b"authorization" for name, _ in headers):
                return None
            refusal = self._take(self._failures, headers, peer, "failed API keys")
            if refusal is None and access is not Access.TELLS:
                refusal = self._callers.refuse_unknown()
        return refusal

    def _take(
        self, limit: SourceLimit | None, headers: Heads, peer: tuple[str, int] | None, what: str
    ) -> Refusal | None:
        """Count for the address; return the refusal (429) of one that has had its share."""
        if limit is None or peer is None:
            return None
        source = self._sources.find(peer[0], headers)
        wait_s = 0 if source is None else limit.take(source, self._now_s())
        if not wait_s:
            return None
        return Refusal(Code.RATE_LIMIT_EXCEEDED, f"Too many {what} from this address.", retry_after_s=wait_s)


def read_path(values: bytes, header: bytes) -> list[str]:
    """Return the addresses that the values of `X-Forwarded-For` or `Forwarded` name, the first one first."""
    pieces = values.split(b",")[-PATH_MAX:]
    if header == b"forwarded":
        found = [_FOR.search(piece) for piece in pieces]
        pieces = [b"" if match is None else match[1] or match[2] or b"" for match in found]
    return [_read_address(piece.strip().decode("latin-1")) for piece in pieces]


def _read_address(text: str) -> str:
    """Return an address without the port that may follow it."""
    match = _PORT.fullmatch(text)
    return text if match is None else match[1] or match[2]


def _limit(per_minute: int | None) -> SourceLimit | None:
    return None if per_minute is None else SourceLimit(per_minute)


def _read_token(headers: Heads) -> bytes | None:
    """Return the Bearer token of a request; None if there is none, or more than one header claims to hold it."""
    values = [value for name, value in headers if name == b"authorization"]
    return bearer_token(values[0]) if len(values) == 1 else None
