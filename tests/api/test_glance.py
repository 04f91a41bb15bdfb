"""Read at a glance, a request is what the parser finds it to be, or is left to the parser."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.api.glance import Plain, read_plain
from tallygate.api.protocol import GuardedProtocol
from tallygate.api.server import HttpServer
from tests.api.test_gate import BAD, GOOD, House, request

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

CHAT = request("/keyed", BAD, b"{}", Content_Type="application/json", User_Agent="me/1 (it)", X_Stainless_OS="Linux")


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def get_extra_info(self, name: str) -> Any:
        """Tell the addresses."""
        return ("127.0.0.1", 4711) if name in {"peername", "sockname"} else None

    def is_closing(self) -> bool:
        """Say whether it was closed."""
        return self.is_closed

    def close(self) -> None:
        """Close it."""
        self.is_closed = True

    def pause_reading(self) -> None:
        """Be read no more; nothing comes by itself."""

    def resume_reading(self) -> None:
        """Be read."""


class Judged(House):
    """A house that keeps what its gate was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, list[bytes]]] = []
        judge = self.gate.judge

        def note(method: str, path: str, headers: Any, peer: Any) -> Any:
            self.asked.append((method, path, [value for name, value in headers if name == b"authorization"]))
            return judge(method, path, headers, peer)

        self.gate.judge = note  # type: ignore[method-assign]


async def come(data: bytes, *, after_bad_key: bool) -> tuple[bytes, list[Any], bool]:
    """Return what is answered at once, what the gate was asked, and whether the connection was closed."""
    house = Judged()
    server = HttpServer(house.edge, gate=house.gate)
    connection = server._make_protocol()
    wire: Any = Wire()
    connection.connection_made(wire)
    if after_bad_key:
        connection.data_received(request("/keyed", BAD))
    else:
        connection.data_received(request("/nowhere", None))  # refused as well, but by the parser's way
        connection._is_wary = False
    wire.written = b""
    house.asked.clear()
    connection.data_received(data)
    for task in server._state.tasks:
        task.cancel()
    await asyncio.gather(*server._state.tasks, return_exceptions=True)
    connection.connection_lost(None)
    if connection.timeout_keep_alive_task is not None:
        connection.timeout_keep_alive_task.cancel()
    return wire.written, house.asked, wire.is_closed


def test_a_plain_request_is_seen() -> None:
    """What a client sends with a key, and a body of the length that it tells, is read without the parser."""
    assert read_plain(CHAT) == Plain("POST", "/keyed", f"Bearer {BAD}".encode())
    assert read_plain(request("/v1/models", None)) == Plain("GET", "/v1/models", None)


UNUSUAL = {
    "nothing": b"",
    "a part": CHAT[:-1],
    "more than one": CHAT + b"G",
    "HTTP/1.0": CHAT.replace(b"1.1", b"1.0"),
    "HEAD": request("/keyed", BAD).replace(b"GET", b"HEAD"),
    "a query": request("/keyed?a=b", BAD),
    "something to decode": request("/%6beyed", BAD),
    "a whole URL": request("http://here/keyed", BAD),
    "no host": CHAT.replace(b"Host: here\r\n", b""),
    "two hosts": CHAT.replace(b"Host: here\r\n", b"Host: here\r\nhost: there\r\n"),
    "two keys": CHAT.replace(b"Host:", b"authorization: Bearer x\r\nHost:"),
    "two lengths": CHAT.replace(b"Host:", b"content-length: 2\r\nHost:"),
    "a signed length": CHAT.replace(b"Length: 2", b"Length: +2"),
    "a length in hex": CHAT.replace(b"Length: 2", b"Length: 0x2"),
    "chunks": CHAT.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
    "an expectation": CHAT.replace(b"Host:", b"Expect: 100-continue\r\nHost:"),
    "an origin": CHAT.replace(b"Host:", b"Origin: https://a.example\r\nHost:"),
    "an upgrade": CHAT.replace(b"Host:", b"Upgrade: h2c\r\nHost:"),
    "the last request": CHAT.replace(b"Host:", b"Connection: close\r\nHost:"),
    "a folded line": CHAT.replace(b"Host: here", b"Host: here\r\n there"),
    "bare line feeds": CHAT.replace(b"\r\n", b"\n"),
    "a bare carriage return": CHAT.replace(b"User-Agent: me", b"User-Agent: m\re"),
    "NUL": CHAT.replace(b"User-Agent: me", b"User-Agent: m\0e"),
    "a space before the colon": CHAT.replace(b"Host:", b"Host :"),
    "another scheme's space": CHAT.replace(b"Bearer ", b"Bearer  "),
}


@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_left_to_the_parser(data: bytes) -> None:
    """Whatever might be read in two ways is not read here at all."""
    assert read_plain(data) is None


def _requests() -> SearchStrategy[bytes]:
    """Requests of all kinds, most of them nearly plain, some with a slip anywhere."""
    names = ["Host", "host", "Authorization", "authorization", "Content-Length", "content-length", "Content-Type"]
    names += ["Accept", "User-Agent", "X-A", "x-forwarded-for", "Connection", "Transfer-Encoding", "Expect", "HOST"]
    values = ["here", "here:80", f"Bearer {BAD}", f"Bearer {GOOD}", "Bearer x", "Basic x", "0", "2", "02", "keep-alive"]
    values += ["close", "chunked", "100-continue", "a b", "", " x", "x ", "\t", "é"]
    header = st.tuples(st.sampled_from(names), st.sampled_from([": ", ":", ":  ", " : "]), st.sampled_from(values))
    line = st.sampled_from(
        ["GET /keyed", "POST /keyed", "POST /open", "GET /nowhere", "PUT /keyed", "get /keyed", "GET *"]
    )
    usual = st.sampled_from(
        [[], [("Host", ": ", "here")], [("Host", ": ", "here"), ("Authorization", ": ", f"Bearer {BAD}")]]
    )
    body = st.sampled_from([b"", b"{}", b"\r\n"])

    def render(line: str, usual: list[Any], headers: list[Any], body: bytes) -> bytes:
        fields = [*usual, *headers]
        if body == b"{}":
            fields.append(("Content-Length", ": ", "2"))
        text = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in fields)
        return f"{line} HTTP/1.1\r\n{text}\r\n".encode("latin-1") + body

    whole = st.builds(render, line, usual, st.lists(header, max_size=3), body)
    slip = st.tuples(whole, st.integers(0, 400), st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"\x80"]))
    return whole | slip.map(lambda made: made[0][: made[1]] + made[2] + made[0][made[1] + 1 :])


@given(data=_requests())
def test_the_parser_finds_the_same(data: bytes) -> None:
    """A request that is seen through gets the same answer, by the same question to the gate, as by the parser's way."""
    at_a_glance = asyncio.run(come(data, after_bad_key=True))
    parsed = asyncio.run(come(data, after_bad_key=False))

    def undated(found: tuple[bytes, list[Any], bool]) -> tuple[bytes, list[Any], bool]:
        return re.sub(rb"(date|x-request-id): [^\r]+", b"", found[0]), found[1], found[2]

    assert undated(at_a_glance) == undated(parsed)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets that the parser has found."""
    found: list[bytes] = []
    on_url = GuardedProtocol.on_url

    def note(self: GuardedProtocol, url: bytes) -> None:
        found.append(url)
        on_url(self, url)

    monkeypatch.setattr(GuardedProtocol, "on_url", note)
    return found


async def test_the_parser_is_spared(parsed: list[bytes]) -> None:
    """Right after a bad key a plain request with another one does not reach the parser; one with a good key does."""
    await come(CHAT, after_bad_key=True)
    assert parsed == [b"/keyed"]  # the first one's
    await come(request("/keyed", GOOD), after_bad_key=True)
    assert parsed == [b"/keyed"] * 3
