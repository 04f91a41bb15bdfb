"""Routes: exact paths, patterns that catch a segment or all the rest, and refusals for what there is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.api.http import Access, Request, Response, Route, Router, check_body, read_idempotency_key
from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from tallygate.relay import Sink


async def handle(request: Request, sink: Sink) -> None:
    """Do nothing."""


def router(*routes: str) -> Router:
    """Return a router of routes such as `GET /a`, whose summaries are themselves."""
    named = [(route, *route.split(" ")) for route in routes]
    return Router(Route(method, path, handle, summary) for summary, method, path in named)


ROUTER = router(
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{id...}",
    "GET /keys",
    "POST /keys",
    "GET /keys/{id}",
    "DELETE /keys/{id}",
    "POST /accounts/{id}/deposits",
    "GET /accounts/{id}",
    "GET /accounts/me",
)


@pytest.mark.parametrize(
    ("method", "path", "found", "argument"),
    [
        ("POST", "/v1/chat/completions", "POST /v1/chat/completions", ""),
        ("GET", "/v1/models", "GET /v1/models", ""),
        ("GET", "/v1/models/a", "GET /v1/models/{id...}", "a"),
        ("GET", "/v1/models/Qwen/Qwen3-235B", "GET /v1/models/{id...}", "Qwen/Qwen3-235B"),
        ("GET", "/v1/models//", "GET /v1/models/{id...}", "/"),
        ("GET", "/keys", "GET /keys", ""),
        ("POST", "/keys", "POST /keys", ""),
        ("GET", "/keys/k", "GET /keys/{id}", "k"),
        ("DELETE", "/keys/k", "DELETE /keys/{id}", "k"),
        ("GET", "/keys/{id}", "GET /keys/{id}", "{id}"),
        ("GET", "/keys/ä ö", "GET /keys/{id}", "ä ö"),
        ("POST", "/accounts/a/deposits", "POST /accounts/{id}/deposits", "a"),
        ("GET", "/accounts/me", "GET /accounts/me", ""),
        ("GET", "/accounts/you", "GET /accounts/{id}", "you"),
    ],
)
def test_found(method: str, path: str, found: str, argument: str) -> None:
    """A request finds its route, an exact path before a pattern, and what the pattern catches."""
    route, caught = ROUTER.find(method, path)
    assert (route.summary, caught) == (found, argument)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "/v1",
        "/v1/models/",
        "/v1/models ",
        "/V1/models",
        "//v1/models",
        "/v1/chat/completions/",
        "/v1/completions",
        "/keys/",
        "/keys/a/b",
        "/keysx",
        "/accounts//deposits",
        "/accounts/deposits/x",
        "/accounts/a/b/deposits",
        "/accounts/a/deposits/",
        "/keys/../v1/models",
    ],
)
def test_not_offered(path: str) -> None:
    """A path that no route has is `unsupported_endpoint`, whatever the method."""
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        with pytest.raises(Refusal) as caught:
            ROUTER.find(method, path)
        assert caught.value.code is Code.UNSUPPORTED_ENDPOINT


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "OPTIONS, POST"),
        ("HEAD", "/v1/chat/completions", "OPTIONS, POST"),
        ("get", "/v1/models", "GET, HEAD, OPTIONS"),
        ("TRACE", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", "/keys", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/keys/k", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/accounts/a/deposits", "OPTIONS, POST"),
        ("POST", "/accounts/me", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_method(method: str, path: str, allowed: str) -> None:
    """A path that takes other methods says which."""
    with pytest.raises(Refusal) as caught:
        ROUTER.find(method, path)
    assert (caught.value.code, caught.value.message) == (Code.METHOD_NOT_ALLOWED, f"This route takes {allowed}.")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a", "/keys", "/accounts/me"])
def test_head_is_answered_as_get(path: str) -> None:
    """HEAD finds the route that GET finds, and what it catches."""
    assert ROUTER.find("HEAD", path) == ROUTER.find("GET", path)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", b"OPTIONS, POST"),
        ("/v1/models/a/b", b"GET, HEAD, OPTIONS"),
        ("/keys/k", b"DELETE, GET, HEAD, OPTIONS"),
    ],
)
async def test_options_tells_the_methods(path: str, allowed: bytes) -> None:
    """OPTIONS of a path is answered to everybody with its methods and nothing else."""
    route, _ = ROUTER.find("OPTIONS", path)
    none: Any = None

    assert route.access is Access.OPEN
    assert await route.handler(request(), none) == Response(204, b"", [(b"allow", allowed)])


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        (b"content-encoding", b"gzip", Code.UNSUPPORTED_MEDIA_TYPE),
        (b"content-encoding", b"identity, br", Code.UNSUPPORTED_MEDIA_TYPE),
        (b"content-encoding", b"", Code.UNSUPPORTED_MEDIA_TYPE),
        (b"content-length", b"101", Code.REQUEST_TOO_LARGE),
        (b"content-length", b"9" * 5000, Code.REQUEST_TOO_LARGE),
        (b"content-encoding", b" Identity", None),
        (b"content-length", b"100", None),
    ],
)
def test_bodies_are_refused_by_their_heads(header: bytes, value: bytes, code: Code | None) -> None:
    """A body that is encoded, or says that it is too long, is refused before any of it is read."""
    caught = None
    try:
        check_body(request((header, value)), 100)
    except Refusal as refusal:
        caught = refusal.code

    assert caught is code


@given(st.text(max_size=6), st.text(max_size=30) | st.text("/keys{}", max_size=12))
def test_any_request(method: str, path: str) -> None:
    """Any request finds a route that fits it, or is refused without its text being repeated."""
    try:
        route, argument = ROUTER.find(method, path)
    except Refusal as error:
        outcome = error.code
        assert outcome in (Code.UNSUPPORTED_ENDPOINT, Code.METHOD_NOT_ALLOWED)
    else:
        assert method in ({"GET", "HEAD"} if route.method == "GET" else {route.method})
        assert route.path.replace("{id...}", argument).replace("{id}", argument) == path


def test_json_response() -> None:
    """A JSON answer has its type, its status, and its content in UTF-8."""
    response = Response.json({"é": [1, None]}, 201)
    assert (response.status, json.loads(response.body)) == (201, {"é": [1, None]})
    assert response.headers == [(b"content-type", b"application/json")]
    assert Response.json([]).status == 200


def request(*headers: tuple[bytes, bytes]) -> Request:
    """Return a request with these headers."""
    names = [name for name, _ in headers]
    repeated = frozenset(name for name in names if names.count(name) > 1)
    body: Any = None
    return Request("req_1", "POST", "/", b"", dict(headers), repeated, body)


def test_idempotency_key_is_read() -> None:
    """A request has one key or none."""
    assert read_idempotency_key(request()) is None
    assert read_idempotency_key(request((b"idempotency-key", b"k-1"))) == b"k-1"


@pytest.mark.parametrize("values", [[b""], [b"two words"], [b"k" * 256], [b"k", b"k"], [b"k", b"l"], ["é".encode()]])
def test_idempotency_key_is_never_guessed(values: list[bytes]) -> None:
    """A header that is no key, or comes more than once, is refused by its name."""
    with pytest.raises(Refusal) as refused:
        read_idempotency_key(request(*((b"idempotency-key", value) for value in values)))

    assert (refused.value.code, refused.value.param) == (Code.INVALID_VALUE, "Idempotency-Key")
