"""Routes behind an ASGI server: every request gets an id, an answer in OpenAI's shape, and a watch on its caller."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

import structlog

from tallygate.api.http import Request
from tallygate.core.errors import STORE_RETRY_AFTER_S, Code, Refusal, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallygate.api.cors import Cors
    from tallygate.api.http import Headers, Router
    from tallygate.api.problems import Problems
    from tallygate.api.protocol import Gate

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

DISCARD_BYTES_MAX: Final = 16 * 1024 * 1024
"""How much of a refused request's body is taken and thrown away: more than the largest that is good (10 MiB)."""

CONTINUE: Final = b"100-continue"
"""The one thing that a request may expect: our word that its body is wanted, which comes when somebody reads it."""

_log = structlog.get_logger()


class AsgiBody:
    """A request's body, from the server."""

    __slots__ = ("_receive", "_scope", "complete")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.complete = False

    async def read(self, bytes_max: int) -> bytes:
        """Return all of it; raises `Refusal` (413) when it is longer, without reading it to the end."""
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise CallerVanishedError
            piece = message.get("body", b"")
            size += len(piece)
            self.complete = not message.get("more_body", False)
            if size > bytes_max:
                raise Refusal(Code.REQUEST_TOO_LARGE, f"The body is larger than {bytes_max} bytes.")
            if self.complete:
                return piece if not pieces else b"".join([*pieces, piece])
            pieces.append(piece)

    @property
    def outstanding(self) -> bool:
        """Whether some of it may still come: the head announced it, and it has not been read to the end."""
        announced = self._headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self._headers
        return announced and not self.complete

    @property
    def withheld(self) -> bool:
        """Whether the caller waits for our word before sending it."""
        return b"expect" in self._headers

    @property
    def _headers(self) -> dict[bytes, bytes]:
        return dict(self._scope["headers"])

    async def discard(self, bytes_max: int) -> None:
        """Take the rest of it, but not more than this, and throw it away."""
        size = 0
        while size <= bytes_max:
            message = await self._receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


class CallerVanishedError(Exception):
    """The caller closed the connection before the request was complete; there is nobody to answer."""


class Connection(Protocol):
    """A server's connection that tells by itself when it is lost, which is cheaper than to wait for it."""

    on_lost: Callable[[], None] | None

    def note_bad_key(self) -> None:
        """Have whoever has shown a bad key wait for others before the next request."""


class AsgiSink:
    """The caller of one request, behind the server."""

    __slots__ = ("_added", "_callback", "_connection", "_receive", "_send", "_watcher", "started")

    def __init__(self, added: Headers, connection: Connection | None, receive: Receive, send: Send) -> None:
        self.started = False
        self._added = added
        self._connection = connection
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None
        self._callback: Callable[[], None] | None = None

    async def start(self, status: int, headers: Headers) -> None:
        """Begin an answer."""
        self.started = True
        if status == 401 and self._connection is not None:
            self._connection.note_bad_key()
        await self._send({"type": "http.response.start", "status": status, "headers": headers + self._added})

    async def write(self, data: bytes) -> None:
        """Send a piece of it, waiting while the caller is slow."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """End it."""
        self.close()
        await self._send({"type": "http.response.body", "body": b""})

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.close()
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]  # 204 has none by RFC 9110, 8.6
        await self.start(status, headers + length)
        await self._send({"type": "http.response.body", "body": body})

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Have a function called when the caller leaves before the end; the body must have been read."""
        if self._connection is not None:
            self._connection.on_lost = self._callback = callback
        else:
            self._watcher = asyncio.get_running_loop().create_task(self._watch(callback))

    def close(self) -> None:
        """Stop watching."""
        if self._connection is not None and self._connection.on_lost is self._callback:
            self._connection.on_lost = None  # the connection may be watched for the caller's next request already
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self, callback: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        callback()


class Edge:
    """An ASGI application over a table of routes.

    Args:
        router: The routes.
        problems: How refusals are told.
        mint_id: Returns a new request id.
        gate: Refuses what a request's head alone condemns, unless the server has asked it already.
        cors: Which web pages may call; None for none.
    """

    def __init__(
        self,
        router: Router,
        problems: Problems,
        mint_id: Callable[[], str],
        gate: Gate | None = None,
        cors: Cors | None = None,
    ) -> None:
        self.gate = gate
        self._router = router
        self._problems = problems
        self._mint_id = mint_id
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = self._mint_id()
        added = [(b"x-request-id", request_id.encode())]
        if self._cors is not None:
            added += self._cors.headers(dict(scope["headers"]))
        sink = AsgiSink(added, scope.get("state", {}).get("connection"), receive, send)
        body = AsgiBody(scope, receive)
        try:
            refusal = self._judge(scope)
            if refusal is None:
                await self._answer(request_id, scope, body, sink)
            else:
                await self._refuse(sink, refusal, body)
        except Refusal as refusal:
            await self._refuse(sink, refusal, body)
        except StoreUnavailableError as error:
            _log.error("store failed", request_id=request_id, detail=str(error))
            await self._refuse(sink, Refusal(Code.STORE_UNAVAILABLE, retry_after_s=STORE_RETRY_AFTER_S), body)
        except CallerVanishedError:
            pass
        except Exception as error:  # noqa: BLE001  (the outermost handler: whatever it is, it is ours, logged and answered)
            _log.error("defect", request_id=request_id, error=type(error).__name__, where=_trace(error))
            await self._refuse(sink, Refusal(Code.INTERNAL_ERROR), body)
        finally:
            sink.close()

    async def _answer(self, request_id: str, scope: Scope, body: AsgiBody, sink: AsgiSink) -> None:
        pairs = scope["headers"]
        route, argument = self._router.find(scope["method"], _path_of(scope))
        headers = dict(pairs)
        if headers.get(b"expect", CONTINUE).lower() != CONTINUE:
            raise Refusal(Code.UNSUPPORTED_EXPECTATION)
        repeated: frozenset[bytes] = frozenset()
        if len(headers) != len(pairs):
            names = [name for name, _ in pairs]
            repeated = frozenset(name for name in names if names.count(name) > 1)
        request = Request(
            request_id,
            scope["method"],
            scope["path"],
            scope["query_string"],
            headers,
            repeated,
            body,
            unquote(argument) if _is_encoded(scope) else argument,
        )
        response = await route.handler(request, sink)
        if response is not None and self._cors is not None:
            response.headers.extend(self._cors.preflight(request, response))
        if response is not None:
            await sink.respond(response.status, response.headers, response.body)

    def _judge(self, scope: Scope) -> Refusal | None:
        """Ask the gate, if there is one and the server has not asked it already."""
        if self.gate is None or "judged" in scope.get("state", ()):  # ASGI lets a server leave both out
            return None
        return self.gate.judge(scope["method"], _path_of(scope), scope["headers"], scope.get("client"))

    async def _refuse(self, sink: AsgiSink, refusal: Refusal, body: AsgiBody) -> None:
        """Tell a caller why not, at once; then take what still comes, since closing before could destroy the answer."""
        if sink.started:
            return  # a part of an answer is out; the server closes the connection
        status, headers = self._problems.status(refusal), self._problems.headers(refusal)
        content = self._problems.body(refusal)
        if body.outstanding:
            headers.append((b"connection", b"close"))
        if body.withheld or not body.outstanding:
            await sink.respond(status, headers, content)
            return
        await sink.start(status, [*headers, (b"content-length", b"%d" % len(content))])
        await sink.write(content)
        await body.discard(DISCARD_BYTES_MAX)
        await sink.finish()


def _path_of(scope: Scope) -> str:
    """Return the path by which a route is found.

    It is not decoded: only what a pattern catches may be written in percent signs. A proxy in front, which lets some
    paths pass and others not, reads another path where a slash is an escape, and must not be told that it is the same.
    """
    path: str = scope["raw_path"].decode("latin-1") if _is_encoded(scope) else scope["path"]
    return path


def _is_encoded(scope: Scope) -> bool:
    return b"%" in scope.get("raw_path", b"")  # ASGI lets a server leave it out


def _trace(error: BaseException) -> list[str]:
    """Return where an error comes from, without its own words, which might be a caller's."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
