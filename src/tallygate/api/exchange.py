"""One request and its answer on a connection: uvicorn's, but written with less.

uvicorn looks at every header of an answer by itself, in several ways; here a head is put together and looked at as a
whole. What an answer may not do is refused all the same: a head that a value could have written another line into, a
body of another length than was announced, anything after the end. What may not live here: what is answered.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Message = MutableMapping[str, Any]

_CONTROLS: Final = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
"""What no header may have in it (RFC 9110, 5.5); a head has of it the two that end each line."""

_WITHOUT_BODY: Final = frozenset({204, 304})


class Exchange(RequestResponseCycle):
    """A request, and its answer as far as it has been sent."""

    async def send(self, message: Message) -> None:  # type: ignore[override]  # uvicorn has a type for each message
        """Write a piece of the answer once there is room for it; nothing for a caller who has gone."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError("an answer has ended, and goes on")
        if self.response_started:
            self._write_body(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            self.response_started, self.waiting_for_100_continue = True, False
            self._write_head(message["status"], [*self.default_headers, *message.get("headers", ())])

    def _write_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Write the head of an answer; names are lower case, as all of ours are."""
        lines = 1 + len(headers)
        pieces = [STATUS_LINE[status]]
        closes = False
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value == b"close":
                self.keep_alive, closes = False, True
        if not self.keep_alive and not closes:
            pieces.append(b"connection: close\r\n")
            lines += 1
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _WITHOUT_BODY:
            self.chunked_encoding = True
            pieces.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        head = b"".join(pieces)
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * lines:
            raise RuntimeError("a header has a character in it that none may have")
        self.transport.write(head + b"\r\n")

    def _write_body(self, body: bytes, *, is_last: bool) -> None:
        """Write a piece of the body, framed as the head has announced it."""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self.transport.write(framed + b"0\r\n\r\n" if is_last else framed)
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("a body is longer than was announced")
            self.transport.write(body)
        if is_last:
            self._end()

    def _end(self) -> None:
        if self.expected_content_length != 0:
            raise RuntimeError("a body is shorter than was announced")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class ExchangingProtocol(HttpToolsProtocol):
    """uvicorn's connection, on which requests and answers are exchanges of ours.

    Attributes:
        idle_since_s: Since when nothing has been asked after an answer, by the loop's clock: whoever looks after all
            connections closes those that are idle for too long, so none needs a timer of its own for each answer.
    """

    idle_since_s: float | None = None

    def close_if_idle(self, now_s: float) -> None:
        """Close a connection that has not been used for as long as it may be kept."""
        if self.idle_since_s is not None and now_s - self.idle_since_s > self.timeout_keep_alive:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request, if it is here already."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since_s = self.loop.time()

    def _unset_keepalive_if_required(self) -> None:
        self.idle_since_s = None

    def on_headers_complete(self) -> None:
        """Begin to serve a request; one that came before the answer to the last one waits for that."""
        version = self.parser.get_http_version()
        scope = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        url = httptools.parse_url(self.url)
        scope["raw_path"] = raw_path = url.path
        path = raw_path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["query_string"] = url.query or b""
        before = cast("RequestResponseCycle | None", self.cycle)
        self.cycle = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
