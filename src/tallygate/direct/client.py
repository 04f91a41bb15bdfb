"""A ready OpenAI client, sync and async, whose every request is signed for the node that it goes to.

    client = connect(wallet, nodes)
    client.chat.completions.create(...)

It is the official client (`openai`, of this major version or the one before) over a transport of ours for whichever
HTTP library that client is made on. Each request goes to a node drawn at random; where the retry table allows it, to
another one after a failure. The official client's own retries are off: they know nothing of what a repeated request
costs.

What a node refuses is raised as the official client's exception for that status, with a message that says what to
change. A stream that ends without its `[DONE]` raises instead of ending as if it were whole.

Only the first bytes can be waited for elsewhere: an answer that has begun is never asked for again. Headers of the
caller's (`extra_headers`) do not reach a node.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec
import openai

from tallygate.core.retry import BUSY, LOST, SILENT, UNREACHED, UNUSABLE, Failure, judge_status
from tallygate.core.signing import Scheme
from tallygate.direct.nodes import find_nodes
from tallygate.direct.refusals import words_of
from tallygate.direct.route import Course, Route
from tallygate.direct.streams import TAIL_BYTES, ends_well
from tallygate.direct.verdicts import judge_course
from tallygate.direct.wallet import wallet_from_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from tallygate.core.signing import SigningKey
    from tallygate.direct.nodes import Node


def _find_http_library() -> Any:
    """Return the HTTP library that the installed client is made on: httpx2 since openai 3, httpx before."""
    for ancestor in openai.DefaultHttpxClient.__mro__:
        library = ancestor.__module__.partition(".")[0]
        if library.startswith("httpx"):
            return sys.modules[library]
    raise ImportError("this version of openai is made on an HTTP library that is not known here")


_http: Any = _find_http_library()

_PLACE: Final = "http://gonka.invalid/v1"  # a request gets its node's URL when it is sent
_HEADERS_PASSED: Final = ("accept", "content-type", "user-agent")
_HEADERS_DROPPED: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_BROKEN: Final = (_http.ReadError, _http.RemoteProtocolError)
_BROKEN_OFF: Final = (
    "The node broke the answer off: the stream ended without [DONE]. What has come so far is billed; ask again for a "
    "whole answer."
)
_CONNECTIONS_MAX: Final = 1000  # as many as the official client's own default


def connect(
    wallet: SigningKey | None = None,
    nodes: Sequence[Node] | None = None,
    *,
    scheme: Scheme = Scheme.HASH,
    **options: Any,
) -> openai.OpenAI:
    """Return an OpenAI client that signs.

    Args:
        wallet: Pays for what is asked; else the environment's.
        nodes: Where to ask; else the environment's.
        scheme: What the nodes take.
        options: Of the official client, such as `timeout`.

    Raises:
        DirectError: There is no wallet, or no node.
    """
    transport = SignedTransport(_make_route(wallet, nodes, scheme))
    client = _http.Client(transport=transport, follow_redirects=False, timeout=openai.DEFAULT_TIMEOUT)
    return openai.OpenAI(**_complete(options), http_client=client)


def connect_async(
    wallet: SigningKey | None = None,
    nodes: Sequence[Node] | None = None,
    *,
    scheme: Scheme = Scheme.HASH,
    **options: Any,
) -> openai.AsyncOpenAI:
    """Return an async OpenAI client that signs; see `connect`."""
    transport = AsyncSignedTransport(_make_route(wallet, nodes, scheme))
    client = _http.AsyncClient(transport=transport, follow_redirects=False, timeout=openai.DEFAULT_TIMEOUT)
    return openai.AsyncOpenAI(**_complete(options), http_client=client)


def _make_route(wallet: SigningKey | None, nodes: Sequence[Node] | None, scheme: Scheme) -> Route:
    return Route(wallet or wallet_from_environment(), find_nodes() if nodes is None else nodes, scheme)


def _complete(options: dict[str, Any]) -> dict[str, Any]:
    return {"max_retries": 0, **options, "api_key": "signed", "base_url": _PLACE}


class SignedTransport(_http.BaseTransport):  # type: ignore[misc]  # which library's is known at run time only
    """Sends each request to a node, signed for it; see the module.

    Args:
        route: The nodes and the wallet.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._inner = _http.HTTPTransport(limits=_limits())

    def handle_request(self, request: Any) -> Any:
        """Return a node's answer, or ours that says why there is none."""
        body = request.read()
        course = Course(self._route)
        while (node := course.next()) is not None:
            answer = None
            try:
                answer = self._inner.handle_request(_address(request, node, body, self._route))
                content = first = b""
                if _is_stream(answer):
                    rest = iter(answer.stream)
                    first = next(rest, b"")
                else:
                    content = b"".join(answer.stream)
                    answer.stream.close()
            except _http.TransportError as error:
                if answer is not None:
                    with contextlib.suppress(_http.TransportError):
                        answer.stream.close()
                course.fail(node, _judge_error(error))
                continue
            if _is_stream(answer) and first:
                course.succeed(node)
                return _pass_on(answer, stream=_CheckedStream(first, rest, answer))
            if (passed := _judge_answer(course, node, answer, content, request)) is not None:
                return passed
        return _tell(course)

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


class AsyncSignedTransport(_http.AsyncBaseTransport):  # type: ignore[misc]  # which library's is known at run time only
    """The same, async."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._inner = _http.AsyncHTTPTransport(limits=_limits())

    async def handle_async_request(self, request: Any) -> Any:
        """Return a node's answer, or ours that says why there is none."""
        body = await request.aread()
        course = Course(self._route)
        while (node := course.next()) is not None:
            answer = None
            try:
                answer = await self._inner.handle_async_request(_address(request, node, body, self._route))
                content = first = b""
                if _is_stream(answer):
                    rest = aiter(answer.stream)
                    first = await anext(rest, b"")
                else:
                    content = b"".join([part async for part in answer.stream])
                    await answer.stream.aclose()
            except _http.TransportError as error:
                if answer is not None:
                    with contextlib.suppress(_http.TransportError):
                        await answer.stream.aclose()
                course.fail(node, _judge_error(error))
                continue
            if _is_stream(answer) and first:
                course.succeed(node)
                return _pass_on(answer, stream=_AsyncCheckedStream(first, rest, answer))
            if (passed := _judge_answer(course, node, answer, content, request)) is not None:
                return passed
        return _tell(course)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class _CheckedStream(_http.SyncByteStream):  # type: ignore[misc]  # which library's is known at run time only
    """The body of a stream; raises at an end that is not the answer's."""

    def __init__(self, first: bytes, rest: Iterator[bytes], answer: Any) -> None:
        self._first, self._rest, self._answer = first, rest, answer

    def __iter__(self) -> Iterator[bytes]:
        tail = self._first[-TAIL_BYTES:]
        yield self._first
        try:
            for part in self._rest:
                tail = (tail + part)[-TAIL_BYTES:]
                yield part
        except _BROKEN as error:
            raise _http.RemoteProtocolError(_BROKEN_OFF) from error
        _require_end(tail, self._answer)

    def close(self) -> None:
        """Let the connection go."""
        self._answer.stream.close()


class _AsyncCheckedStream(_http.AsyncByteStream):  # type: ignore[misc]  # which library's is known at run time only
    """The same, async."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], answer: Any) -> None:
        self._first, self._rest, self._answer = first, rest, answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        tail = self._first[-TAIL_BYTES:]
        yield self._first
        try:
            async for part in self._rest:
                tail = (tail + part)[-TAIL_BYTES:]
                yield part
        except _BROKEN as error:
            raise _http.RemoteProtocolError(_BROKEN_OFF) from error
        _require_end(tail, self._answer)

    async def aclose(self) -> None:
        """Let the connection go."""
        await self._answer.stream.aclose()


def _require_end(tail: bytes, answer: Any) -> None:
    is_plain = answer.headers.get("content-encoding", "identity") == "identity"  # as was asked; else it cannot be seen
    if is_plain and not ends_well(tail):
        raise _http.RemoteProtocolError(_BROKEN_OFF)


def _limits() -> Any:
    return _http.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX // 10)


def _address(request: Any, node: Node, body: bytes, route: Route) -> Any:
    """Return a request to a node, signed afresh; the client's own headers do not go along."""
    headers = {name: request.headers[name] for name in _HEADERS_PASSED if name in request.headers}
    headers["accept-encoding"] = "identity"  # the end of a stream is looked for in the bytes as they come
    url = node.url + request.url.raw_path.decode("ascii")
    headers |= route.sign(node, body)
    return _http.Request(request.method, url, headers=headers, content=body, extensions=request.extensions)


def _is_stream(answer: Any) -> bool:
    kind: str = answer.headers.get("content-type", "")
    return answer.status_code == 200 and kind.startswith("text/event-stream")


def _judge_error(error: Exception) -> Failure:
    """Return the retry table's row for an exception of the HTTP library."""
    if isinstance(error, (_http.ConnectError, _http.ConnectTimeout, _http.UnsupportedProtocol)):
        return UNREACHED
    if isinstance(error, _http.PoolTimeout):
        return BUSY
    if isinstance(error, _http.TimeoutException):
        return SILENT
    return LOST


def _judge_answer(course: Course, node: Node, answer: Any, content: bytes, request: Any) -> Any:
    """Return an answer that is no stream, if it is what was asked for; else None, and it is noted."""
    status: int = answer.status_code
    if status == 200 and _is_stream(answer):
        course.fail(node, LOST)
        return None
    if status == 200:
        if _is_whole(content, is_call=request.method == "POST"):
            course.succeed(node)
            return _pass_on(answer, content=content)
        course.fail(node, UNUSABLE, status, words_of(content))
        return None
    headers = {name.lower(): value for name, value in answer.headers.items()}
    course.fail(node, judge_status(status, headers, content, signed=True), status, words_of(content))
    return None


def _is_whole(content: bytes, *, is_call: bool) -> bool:
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return not is_call or (
        isinstance(value, dict) and not value.get("error") and isinstance(value.get("choices"), list)
    )


def _pass_on(answer: Any, **body: Any) -> Any:
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HEADERS_DROPPED]
    return _http.Response(answer.status_code, headers=headers, extensions=answer.extensions, **body)


def _tell(course: Course) -> Any:
    verdict = judge_course(course.failed)
    return _http.Response(verdict.status, headers=dict(verdict.headers), content=verdict.body)
