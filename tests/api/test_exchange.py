"""An answer on its way: what may go out, and how it is framed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.test_server import answer_to, echo, serving

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
HEAD_ONLY = b"HEAD / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


def answering(headers: list[tuple[bytes, bytes]], *pieces: bytes, status: int = 200) -> Callable[..., Any]:
    """Return an application that answers this, whatever it is asked."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b", b"a\x7f", b"a\r\n\r\nb"])
async def test_no_value_can_write_another_line(value: bytes) -> None:
    """A header with a control character in it goes to nobody: the caller gets nothing at all."""
    async with serving(answering([(b"x-odd", value), (b"content-length", b"0")])) as (port, _):
        answer = await answer_to(port, ASKED)

    assert answer == b""


async def test_a_tab_may_stand_in_a_header() -> None:
    """Of the control characters a tab is allowed, as HTTP has it."""
    async with serving(answering([(b"x-odd", b"a\tb"), (b"content-length", b"0")])) as (port, _):
        answer = await answer_to(port, ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert b"\r\nx-odd: a\tb\r\n" in answer


@pytest.mark.parametrize("length", [b"3", b"5"])
async def test_a_body_of_another_length_than_announced_breaks_off(length: bytes) -> None:
    """Who announces more or less than is sent has the connection closed, so that nothing is taken for the rest."""
    async with serving(answering([(b"content-length", length)], b"four")) as (port, _):
        head, _, body = (await answer_to(port, ASKED)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert body in (b"", b"four")


async def test_a_body_of_unknown_length_goes_in_chunks() -> None:
    """Without a length each piece is a chunk, and an empty one ends the body."""
    async with serving(answering([], b"one,", b"two")) as (port, _):
        answer = await answer_to(port, ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close\r\ntransfer-encoding: chunked" in head
    assert body == b"4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"), [(HEAD_ONLY, 200), (HEAD_ONLY.replace(b"HEAD", b"GET"), 204)], ids=["HEAD", "204"]
)
async def test_what_has_no_body_gets_none(request_: bytes, status: int) -> None:
    """The answer to HEAD, and one of 204, is a head alone."""
    async with serving(answering([], *([b"body"] if status == 200 else []), status=status)) as (port, _):
        answer = await answer_to(port, request_)

    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1
    assert b"chunked" not in answer


async def test_an_idle_connection_is_closed() -> None:
    """A connection on which nothing is asked any more is closed when its time is over."""
    async with serving(echo, sweep_s=0.01, idle_s_max=0) as (port, _):
        answer = await answer_to(port, b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi")

    assert answer.endswith(b"\r\n\r\nhi")
