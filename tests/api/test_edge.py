"""Every request gets an id and an answer in OpenAI's shape, whatever its handler does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import structlog.testing

from tallygate.api.edge import Edge
from tallygate.api.http import Request, Response, Route, Router
from tallygate.api.problems import Problems
from tallygate.core.errors import Code, Refusal, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallygate.api.cors import Cors
    from tallygate.relay import Sink


class Exchange:
    """One request to an application, and what it sent."""

    def __init__(
        self, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None, path: str = "/route"
    ) -> None:
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": headers or [],
            "state": {},
        }
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self.sent: list[dict[str, Any]] = []

    async def with_handler(
        self, handler: Callable[[Request, Sink], Awaitable[Response | None]], cors: Cors | None = None
    ) -> Exchange:
        """Have a handler answer."""
        ids = iter(["req_1"])
        app = Edge(Router([Route("POST", "/route", handler, "")]), Problems(), lambda: next(ids), cors=cors)
        await app(self.scope, self.incoming.get, self.send)
        return self

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the application."""
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The status that was answered."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers that were answered."""
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """The body that was answered."""
        return b"".join(message["body"] for message in self.sent[1:])


async def test_every_answer_carries_the_request_id() -> None:
    """A handler's answer goes out with `x-request-id` and its length."""

    async def handler(request: Request, _: Sink) -> Response:
        return Response.json({"id": request.id})

    exchange = await Exchange().with_handler(handler)

    assert (exchange.status, exchange.body) == (200, b'{"id":"req_1"}')
    assert exchange.headers[b"x-request-id"] == b"req_1"
    assert exchange.headers[b"content-length"] == b"14"


async def test_a_refusal_becomes_an_error_in_openais_shape() -> None:
    """What a handler refuses is answered with status, type, code, param and message of the table."""

    async def handler(_: Request, __: Sink) -> Response:
        raise Refusal(Code.INVALID_VALUE, "n must be 1.", param="n")

    exchange = await Exchange().with_handler(handler)

    assert exchange.status == 400
    assert json.loads(exchange.body) == {
        "error": {"message": "n must be 1.", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    }


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/nowhere", 404, "unsupported_endpoint"), ("/route", 405, "method_not_allowed")]
)
async def test_routes_that_are_not_there(path: str, status: int, code: str) -> None:
    """An unknown path is 404, a known one with another method 405; both before anything else is looked at."""

    async def handler(_: Request, __: Sink) -> Response:
        raise AssertionError

    exchange = Exchange(path=path)
    exchange.scope["method"] = "PUT"
    await exchange.with_handler(handler)

    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("raw_path", "caught"),
    [
        (b"/models/a/b", "a/b"),
        (b"/models/a%2Fb%25%C3%A9", "a/b%\u00e9"),
        (b"/models%2Fa", None),
        (b"/%6dodels/a", None),
        (b"/models/%FF", "\ufffd"),
    ],
)
async def test_only_what_a_pattern_catches_may_be_escaped(raw_path: bytes, caught: str | None) -> None:
    """An id is decoded; a path whose own letters or slashes are escapes is none of ours, whatever it decodes to."""
    seen = []

    async def note(request: Request, _: Sink) -> Response:
        seen.append(request.argument)
        return Response.json({})

    exchange = Exchange(path=unquote(raw_path.decode()))
    exchange.scope["raw_path"] = raw_path
    edge = Edge(Router([Route("POST", "/models/{id...}", note, "")]), Problems(), lambda: "req_1")
    await edge(exchange.scope, exchange.incoming.get, exchange.send)

    assert (exchange.status, seen) == ((404, []) if caught is None else (200, [caught]))


async def test_a_store_that_fails_is_503() -> None:
    """When the books cannot be written, the answer is 503, never 401 or 500."""

    async def handler(_: Request, __: Sink) -> Response:
        raise StoreUnavailableError("disk full")

    with structlog.testing.capture_logs() as logs:
        exchange = await Exchange().with_handler(handler)

    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (503, "store_unavailable")
    assert b"disk full" not in exchange.body
    assert logs == [{"event": "store failed", "log_level": "error", "request_id": "req_1", "detail": "disk full"}]


async def test_a_defect_is_answered_and_logged_under_the_id() -> None:
    """An unexpected exception becomes a 500 without its text; the log has the request's id."""

    async def handler(_: Request, __: Sink) -> Response:
        raise RuntimeError("secret detail")

    with structlog.testing.capture_logs() as logs:
        exchange = await Exchange().with_handler(handler)

    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (500, "internal_error")
    assert b"secret detail" not in exchange.body
    assert [(line["event"], line["request_id"]) for line in logs] == [("defect", "req_1")]


async def test_a_body_above_the_limit_is_not_read_to_its_end() -> None:
    """A handler that reads at most so many bytes refuses with 413, and the connection is closed."""

    async def handler(request: Request, _: Sink) -> Response:
        return Response.json((await request.body.read(3)).decode())

    exchange = Exchange(headers=[(b"content-length", b"100")])
    exchange.incoming = asyncio.Queue()
    exchange.incoming.put_nowait({"type": "http.request", "body": b"four", "more_body": True})
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    await exchange.with_handler(handler)

    assert exchange.status == 413
    assert exchange.headers[b"connection"] == b"close"
    assert json.loads(exchange.body)["error"]["code"] == "request_too_large"


async def test_a_caller_who_vanishes_while_sending_gets_nothing() -> None:
    """When the connection is lost before the request is complete, nothing is answered."""

    async def handler(request: Request, _: Sink) -> Response:
        return Response.json((await request.body.read(3)).decode())

    exchange = Exchange()
    exchange.incoming = asyncio.Queue()
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    await exchange.with_handler(handler)

    assert exchange.sent == []


async def test_repeated_headers_are_told_to_the_handler() -> None:
    """A header that came twice is named, so that no handler believes one of two contradicting values."""
    seen: list[frozenset[bytes]] = []

    async def handler(request: Request, _: Sink) -> Response:
        seen.append(request.repeated)
        return Response.json({})

    await Exchange(headers=[(b"authorization", b"a"), (b"x", b"1"), (b"authorization", b"b")]).with_handler(handler)

    assert seen == [frozenset({b"authorization"})]


@pytest.mark.parametrize("expected", [b"100-continue", b"100-Continue"])
async def test_the_one_expectation_is_met(expected: bytes) -> None:
    """Who waits for our word before sending a body is served as anybody."""

    async def handler(_: Request, __: Sink) -> Response:
        return Response.json({})

    assert (await Exchange(headers=[(b"expect", expected)]).with_handler(handler)).status == 200


async def test_other_expectations_are_refused_without_reading() -> None:
    """Whatever else a request expects is a 417, and its body is neither read nor waited for."""

    async def handler(_: Request, __: Sink) -> Response:
        raise AssertionError

    exchange = Exchange(headers=[(b"expect", b"200-ok"), (b"content-length", b"9")])
    exchange.incoming = asyncio.Queue()
    await exchange.with_handler(handler)

    assert (exchange.status, json.loads(exchange.body)["error"]["code"]) == (417, "unsupported_expectation")
    assert exchange.headers[b"connection"] == b"close"


async def test_a_leaving_caller_is_noticed_behind_any_server() -> None:
    """Behind a server that does not tell of lost connections by itself, the sink waits for its word."""
    left = asyncio.Event()

    async def handler(request: Request, sink: Sink) -> None:
        await request.body.read(10)
        sink.on_leave(left.set)
        await asyncio.wait_for(left.wait(), 120)

    exchange = Exchange()
    exchange.incoming.put_nowait({"type": "http.disconnect"})
    await exchange.with_handler(handler)

    assert left.is_set()
