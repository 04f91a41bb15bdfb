"""HTTP to one node, blocking: the look-ups, and the sending of one request from the command line.

Redirects are never followed: what is signed for one node is worth nothing at another, and is nobody else's to read. No
proxy of the environment is used either.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from tallygate.core.nodes import NonsenseError
from tallygate.direct.errors import EndpointError, RefusedError, UnreachableError
from tallygate.direct.refusals import explain, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_Read = TypeVar("_Read")

LOOK_UP_S: Final = 20.0
"""How long a node may take to connect, and between two parts of an answer to a look-up."""

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""More than any list of participants has; an answer beyond that is no answer to a look-up."""


class Found(NamedTuple):
    """The answer to a look-up: its status, and the JSON of its body (None if it has none)."""

    status: int
    body: bytes
    content: Any

    def require(self) -> Any:
        """Return the JSON of an answer that is one.

        Raises:
            RefusedError: Its status is not 200, or it has no JSON.
        """
        if self.status != 200:
            raise RefusedError(self.status, words_of(self.body), explain(self.status, words_of(self.body)))
        if self.content is None:
            raise RefusedError(200, "something that is not JSON", "Check that this URL is a Gonka node's.")
        return self.content

    def read(self, read: Callable[[bytes], _Read]) -> _Read:
        """Return what the network says in an answer, read by its rules.

        Raises:
            RefusedError: Its status is not 200, or it is not of the network's shape.
        """
        self.require()
        try:
            return read(self.body)
        except NonsenseError as error:
            complaint = f"what no Gonka node does ({error})"
        raise RefusedError(200, complaint, "Check that this URL is a Gonka node's.")


def parse_base_url(text: str) -> str:
    """Return a node's URL without the `/v1` and the slash that it may end with.

    Raises:
        EndpointError: It is no URL of a node.
    """
    url = text.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        place = urlsplit(url)
        usable = place.scheme in ("http", "https") and bool(place.hostname) and place.port != 0
    except ValueError:
        usable = False
    if not usable or place.query or place.fragment or "@" in place.netloc or not url.isascii() or not url.isprintable():
        raise EndpointError(f"{text!r} is not a node's URL; write one such as http://host:8000, with or without /v1.")
    return url


@contextlib.contextmanager
def send(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
) -> Iterator[http.client.HTTPResponse]:
    """Send a request on a connection of its own, and lend the answer while its body is read.

    Raises:
        UnreachableError: The node cannot be reached, or breaks off.
    """
    place = urlsplit(url)
    host = place.hostname or ""
    if place.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection
        connection = http.client.HTTPSConnection(host, place.port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, place.port, timeout=timeout_s)
    target = (place.path or "/") + (f"?{place.query}" if place.query else "")
    try:
        _connect(connection, f"{place.scheme}://{place.netloc}")
        connection.request(method, target, body, dict(headers))
        yield connection.getresponse()
    except TimeoutError:
        raise UnreachableError(
            f"{place.netloc} did not answer in {timeout_s:g} s. It may still be at work, and bill what it does; "
            "wait before you ask again, or ask another node."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{place.netloc} broke off ({type(error).__name__}): the answer is not whole. "
            "The node may have billed it; ask again, or ask another node."
        ) from None
    finally:
        connection.close()


def _connect(connection: http.client.HTTPConnection, where: str) -> None:
    try:
        connection.connect()
    except ssl.SSLError as error:
        raise UnreachableError(
            f"{where} shows no certificate that can be trusted ({error.reason or error}). Check the URL; for a private "
            "authority, name its certificate in SSL_CERT_FILE."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise UnreachableError(
            f"{where} cannot be reached ({reason}). Check the URL, or take another node: tallygate nodes shows them."
        ) from None


def get(url: str, timeout_s: float = LOOK_UP_S) -> Found:
    """Return what a node answers to a look-up.

    Raises:
        UnreachableError: It does not answer.
    """
    return _exchange("GET", url, None, timeout_s)


def post(url: str, content: object, timeout_s: float = LOOK_UP_S) -> Found:
    """Return what a node answers to JSON that is sent to it.

    Raises:
        UnreachableError: It does not answer.
    """
    return _exchange("POST", url, msgspec.json.encode(content), timeout_s)


def _exchange(method: str, url: str, body: bytes | None, timeout_s: float) -> Found:
    headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
    with send(method, url, headers, body, timeout_s) as answer:
        status, raw = answer.status, answer.read(ANSWER_BYTES_MAX)
    try:
        content = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = None
    return Found(status, raw, content)
