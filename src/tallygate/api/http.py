"""Requests, responses and routes, as our handlers see them; no server and no framework is known here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from tallygate.core.errors import Code, Refusal
from tallygate.core.idempotency import HEADER, KEY_CHARACTERS_MAX, is_key
from tallygate.core.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from tallygate.relay import Sink

    Headers = list[tuple[bytes, bytes]]

_KEY_HEADER: Final = HEADER.lower().encode()
_encode = msgspec.json.Encoder().encode


class Body(Protocol):
    """A request's body, not yet read."""

    async def read(self, bytes_max: int) -> bytes:
        """Return all of it; raises `Refusal` (413) when it is longer."""


@dataclass(slots=True)
class Request:
    """One request; its body is read when a handler asks for it.

    Attributes:
        id: Ours, `req_…`.
        method: Upper case.
        path: Decoded, without the query.
        query: As it came.
        headers: By lower-case name; the last of repeated ones.
        repeated: Names of headers that came more than once.
        body: The body.
        argument: What the route's pattern caught.
        model: The canonical id of the model that it is about, once that is known, for figures.
        key_digest: The digest of its API key, once somebody has looked at that; never the key.
    """

    id: str
    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    repeated: frozenset[bytes]
    body: Body
    argument: str = ""
    model: str = ""
    key_digest: bytes | None = None


class Response(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    headers: Headers

    @classmethod
    def json(cls, content: Any, status: int = 200) -> Response:
        """Return an answer with a JSON body."""
        return cls(status, _encode(content), [(b"content-type", b"application/json")])


if TYPE_CHECKING:
    Handler = Callable[[Request, Sink], Awaitable[Response | None]]
    Fields = Mapping[str, type | tuple[type, ...]]

_NO_FIELDS: Final[Fields] = MappingProxyType({})


class Access(Enum):
    """Whom a route answers."""

    KEY = auto()
    """Whoever shows a good key: an API key on the public listener, the admin key on the operator's."""
    TELLS = auto()
    """The same, but it is the route that refuses whoever shows none, in words of its own."""
    OWN = auto()
    """Whoever shows a key of another kind, which the route knows by itself."""
    WELCOME = auto()
    """Everybody; but who shows a key has to show a good one."""
    OPEN = auto()
    """Everybody."""
    PROBE = auto()
    """Everybody, as often as they like: for whoever watches the process."""


class Route(NamedTuple):
    """One route: a path, or a pattern with one `{name}` that catches a segment (`{name...}`: all the rest).

    Attributes:
        method: Upper case.
        path: The path or pattern.
        handler: Answers, or sends its answer to the sink and returns None.
        summary: One line for the reference.
        claims: Whether it takes an idempotency key.
        access: Whom it answers. Who writes a route that forgets to look at the key is caught by a test.
        billed: Whether it reaches the network, and so costs its caller something.
        fields: The members of its JSON body with their types, where it reads them by `fields.read_fields`.
        query: The parameters of its query.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    claims: bool = False
    access: Access = Access.KEY
    billed: bool = False
    fields: Fields = _NO_FIELDS
    query: tuple[str, ...] = ()


def read_bearer(request: Request) -> bytes | None:
    """Return the Bearer token of a request; None if there is none, or more than one header claims to hold it."""
    if b"authorization" in request.repeated:
        return None
    return bearer_token(request.headers.get(b"authorization", b""))


def check_body(request: Request, bytes_max: int) -> None:
    """Refuse by its head a body that is encoded (415) or too large (413)."""
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
    length = request.headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > bytes_max:
        raise Refusal(Code.REQUEST_TOO_LARGE, f"The body is larger than {bytes_max} bytes.")


def read_idempotency_key(request: Request) -> bytes | None:
    """Return the `Idempotency-Key` of a request, or None if it has none.

    Raises:
        Refusal: It is no key, or there is more than one.
    """
    key = request.headers.get(_KEY_HEADER)
    if key is None:
        return None
    if _KEY_HEADER in request.repeated or not is_key(key):
        demand = f"{HEADER} must be given once, as 1 to {KEY_CHARACTERS_MAX} visible ASCII characters."
        raise Refusal(Code.INVALID_VALUE, demand, param=HEADER)
    return key


class Router:
    """Finds the route of a request.

    What is got can also be asked for by HEAD, whose answer is the same but for its body, which the server leaves out;
    and for every path OPTIONS tells the methods.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[str, str, bool, Route]] = []
        for route in self.routes:
            if "{" not in route.path:
                self._exact.setdefault(route.path, {})[route.method] = route
                continue
            before, _, rest = route.path.partition("{")
            name, _, after = rest.partition("}")
            self._patterns.append((before, after, name.endswith("..."), route))

    def note_missing(self, refusal: Refusal) -> None:
        """Take note of a request for which there is no route."""

    def note_refused(self, route: Route, refusal: Refusal) -> None:
        """Take note of a request that was refused before its route was asked."""

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """Return the route of a request, and what its pattern caught.

        Raises:
            Refusal: There is none (404), or none for this method (405).
        """
        wanted = "GET" if method == "HEAD" else method
        found = self._exact.get(path)
        if found is not None and wanted in found:
            return found[wanted], ""
        methods = set(found or ())
        for before, after, rest, route in self._patterns:
            argument = path[len(before) : len(path) - len(after)]
            fits = path.startswith(before) and path.endswith(after) and argument and (rest or "/" not in argument)
            if fits and route.method == wanted:
                return route, argument
            if fits:
                methods.add(route.method)
        if not methods:
            raise self._missing(Refusal(Code.UNSUPPORTED_ENDPOINT))
        allowed = ", ".join(sorted(methods | ({"OPTIONS", "HEAD"} if "GET" in methods else {"OPTIONS"})))
        if method == "OPTIONS":
            return _options(path, allowed), ""
        raise self._missing(Refusal(Code.METHOD_NOT_ALLOWED, f"This route takes {allowed}.", allow=allowed))

    def _missing(self, refusal: Refusal) -> Refusal:
        self.note_missing(refusal)
        return refusal


def _options(path: str, allowed: str) -> Route:
    """Return the route that tells the methods of a path."""

    async def answer(_: Request, __: Sink) -> Response:
        return Response(204, b"", [(b"allow", allowed.encode())])

    return Route("OPTIONS", path, answer, "The methods of this path.", access=Access.OPEN)
