"""The rest of HTTP on the callers' port of a gateway: HEAD, OPTIONS, and who waits before sending a body."""

from __future__ import annotations

import re

import pytest

from tests.relay.world import World, chat_body, open_world

CHAT = "/v1/chat/completions"


def paths_of(world: World) -> list[str]:
    """Return the paths that can be got, with something there is where a pattern catches something."""
    routes = [route for route in world.gateway.public_edge._router.routes if route.method == "GET"]
    return [re.sub(r"\{[a-z.]+\}", world.card.id, route.path) for route in routes]


async def exchange(world: World, *heads: bytes) -> list[bytes]:
    """Send requests on one connection, each after the answer to the one before; return what came for each."""
    caller = await world.connect()
    answers = []
    for head in heads:
        await caller.send_raw(head)
        answers.append(await caller.raw_until(b"\r\n\r\n"))
    return answers


def headers_of(head: bytes) -> dict[str, str]:
    """Return the headers of an answer that do not differ from one to the next."""
    lines = [line.partition(": ") for line in head.decode().strip().split("\r\n")[1:]]
    return {name.lower(): value for name, _, value in lines if name.lower() not in {"date", "x-request-id"}}


async def test_head_is_get_without_its_body() -> None:
    """HEAD of every route that can be got has the status and headers of GET, no body, and the connection goes on."""
    async with open_world() as world:
        assert len(paths_of(world)) > 15
        for path in paths_of(world):
            if path == "/v1/checkpoints/latest":  # nothing signs in this world
                continue
            got = await world.get(path)
            line = f"HEAD {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {world.secret}\r\n\r\n".encode()
            first, second = await exchange(world, line, line)  # a body would stand before the second head

            assert first.startswith(b"HTTP/1.1 %d " % got.status), path
            assert second.startswith(b"HTTP/1.1 %d " % got.status), path
            sent = {name: value for name, value in got.headers.items() if name not in {"date", "x-request-id"}}
            assert headers_of(first) == headers_of(second) == sent


async def test_options_tells_the_methods_to_everybody() -> None:
    """OPTIONS of a route needs no key, says what can be asked there, and opens it to no page of another origin."""
    async with open_world() as world:
        for path, allowed in ((CHAT, "OPTIONS, POST"), ("/v1/models", "GET, HEAD, OPTIONS")):
            question = f"OPTIONS {path} HTTP/1.1\r\nHost: here\r\nOrigin: https://page.example\r\n\r\n".encode()
            (head,) = await exchange(world, question)

            assert head.startswith(b"HTTP/1.1 204 ")
            assert headers_of(head)["allow"] == allowed
            assert b"access-control-" not in head.lower()
        caller = await world.connect()
        await caller.request("OPTIONS", "/v1/responses", {})
        assert (await caller.answer()).code == "unsupported_endpoint"


@pytest.mark.parametrize("path", [CHAT, "/v1/estimate"])
async def test_who_waits_is_told_to_go_on(path: str) -> None:
    """With a good key `100 Continue` comes while no byte of the body has been sent, and then the one answer."""
    async with open_world() as world:
        body = chat_body()
        caller = await world.connect()
        headers = {**world.headers(), "content-length": str(len(body)), "expect": "100-Continue"}
        await caller.send_head("POST", path, headers)
        assert await caller.raw_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.send_raw(body)
        head = await caller.raw_until(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 200 ")
        assert world.upstream_calls == (path == CHAT)
