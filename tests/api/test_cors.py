"""Which pages may call from a browser: none as shipped; those of the setting; never with credentials."""

from __future__ import annotations

import pytest

from tallygate.api.cors import EXPOSED, Cors
from tallygate.api.http import Request, Response
from tests.api.test_edge import Exchange

PAGE = (b"origin", b"https://chat.example")
PREFLIGHT = [
    PAGE,
    (b"access-control-request-method", b"POST"),
    (b"access-control-request-headers", b"authorization,content-type,x-stainless-os"),
]
LISTED = Cors(frozenset({"https://chat.example"}))
ALL = Cors(frozenset({"*"}))


async def answer(_: Request, __: object) -> Response:
    """Answer any request."""
    return Response.json({})


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        (LISTED, b"https://chat.example", b"https://chat.example"),
        (LISTED, b"https://chat.example.evil", None),
        (LISTED, b"http://chat.example", None),
        (LISTED, b"HTTPS://CHAT.EXAMPLE", None),
        (LISTED, b"null", None),
        (LISTED, b"*", None),
        (LISTED, None, None),
        (ALL, b"https://any.example", b"*"),
        (ALL, None, None),
        (None, b"https://chat.example", None),
    ],
)
async def test_answers_are_shown_to_listed_pages(
    cors: Cors | None, origin: bytes | None, allowed: bytes | None
) -> None:
    """A page of the setting may read an answer and our headers; no other, and credentials never."""
    headers = [] if origin is None else [(b"origin", origin)]
    exchange = await Exchange(headers=headers).with_handler(answer, cors=cors)

    found = exchange.headers
    assert found.get(b"access-control-allow-origin") == allowed
    assert found.get(b"access-control-expose-headers") == (", ".join(EXPOSED).encode() if allowed else None)
    assert found.get(b"vary") == (b"Origin" if cors is LISTED else None)
    assert b"access-control-allow-credentials" not in found


async def test_a_refusal_is_shown_too() -> None:
    """What is refused is told to a page as well, so that it can say why."""
    exchange = await Exchange(headers=[PAGE], path="/nowhere").with_handler(answer, cors=LISTED)

    assert exchange.status == 404
    assert exchange.headers[b"access-control-allow-origin"] == PAGE[1]


async def test_a_preflight_is_answered_without_a_key() -> None:
    """What a browser asks before a call is answered with the route's methods and the headers that it asked for."""
    exchange = Exchange(headers=PREFLIGHT)
    exchange.scope["method"] = "OPTIONS"
    await exchange.with_handler(answer, cors=LISTED)

    assert (exchange.status, exchange.body) == (204, b"")
    assert exchange.headers == {
        b"allow": b"OPTIONS, POST",
        b"vary": b"Origin",
        b"access-control-allow-origin": PAGE[1],
        b"access-control-expose-headers": ", ".join(EXPOSED).encode(),
        b"access-control-allow-methods": b"OPTIONS, POST",
        b"access-control-allow-headers": PREFLIGHT[2][1],
        b"access-control-max-age": b"7200",
        b"x-request-id": b"req_1",
    }


@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"https://evil.example"), *PREFLIGHT[1:]],
        PREFLIGHT[1:],
        PREFLIGHT[:1],
    ],
    ids=["another page", "no page", "no preflight"],
)
async def test_other_questions_for_options(headers: list[tuple[bytes, bytes]]) -> None:
    """OPTIONS of another page, or of no browser, tells the methods and lets nobody in."""
    exchange = Exchange(headers=headers)
    exchange.scope["method"] = "OPTIONS"
    await exchange.with_handler(answer, cors=LISTED)

    assert (exchange.status, exchange.headers[b"allow"]) == (204, b"OPTIONS, POST")
    assert b"access-control-allow-methods" not in exchange.headers


@pytest.mark.parametrize("names", [b"", b"a\r\nb", b"x" * 3000, b"*;q=1"])
async def test_odd_names_are_not_repeated(names: bytes) -> None:
    """Header names that are none are not sent back."""
    exchange = Exchange(headers=[*PREFLIGHT[:2], (b"access-control-request-headers", names)])
    exchange.scope["method"] = "OPTIONS"
    await exchange.with_handler(answer, cors=LISTED)

    assert b"access-control-allow-headers" not in exchange.headers
