"""One connection: uvicorn's HTTP parser and flow control, with the guards that it leaves out.

uvicorn (httptools) parses, keeps alive, and pushes back on slow readers. Added here are a bounded head, bounded
patience for a request to come and for its answer to be read, one `Host`, streams that HTTP/1.0 can read, and a gate:
what its head alone condemns is refused before anything is made for it. What may not live here: what a request means.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from tallygate.api.exchange import ExchangingProtocol
from tallygate.api.glance import read_plain
from tallygate.api.wire import last_answer
from tallygate.core import ids
from tallygate.core.errors import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from tallygate.api.turnstile import Turnstile
    from tallygate.core.errors import Refusal

    Application = Callable[..., Awaitable[None]]

HEAD_BYTES_MAX: Final = 64 * 1024
"""The largest request line and headers together; browsers and clients stay below a quarter of it."""

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The largest request with everything around its body; routes bound their bodies far below it."""

SKIPPED_BYTES_MAX: Final = 64 * 1024
"""How long the body of a refused request may be to be skipped, so that its connection can be used again."""

STALL_S_MAX: Final = 300.0
"""How long a caller may let an answer wait: who reads slower than some 160 bytes a second has gone."""

_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[\w.~%!$&'()*+,;=-]*)(?::[0-9]*)?")
"""What may stand in `Host` (RFC 9110, 7.2); whose name it is makes no difference here."""

_TAKES_TIME: Final = frozenset({b"transfer-encoding", b"expect", b"origin", b"upgrade"})
"""Headers with which a refusal is more than one write; such a request goes the long way, to the same answer."""


class Gate(Protocol):
    """Refuses requests by their heads."""

    def judge(
        self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]], peer: tuple[str, int] | None
    ) -> Refusal | None:
        """Count a request, and return why it is refused, if it is."""

    def write(self, refusal: Refusal, headers: Sequence[tuple[bytes, bytes]], *, has_body: bool) -> bytes:
        """Return a refusal as the bytes of an answer."""

    def may_rest(self, peer: tuple[str, int] | None) -> bool:
        """Say whether a connection carries one caller's requests only, so that it can be made to wait."""


class GuardedProtocol(ExchangingProtocol):
    """A connection with its guards.

    Args:
        note_lost: Called when it is gone.
        gate: Refuses what its head alone condemns.
        turnstile: Where it waits when it has shown a bad key.
    """

    def __init__(self, note_lost: Callable[[], None], gate: Gate | None, turnstile: Turnstile, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._note_lost = note_lost
        self._gate = gate
        self._turnstile = turnstile
        self._head_bytes = self._message_bytes = 0
        self._ends = False
        self._in_head = True
        self._skipped: Refusal | None = None
        self._rests = self._is_wary = self._is_judged = self._has_shown_bad_key = False
        self.refused = False
        self.waiting_since_s: float | None = self.loop.time()
        self.stalled_since_s: float | None = None
        self.on_lost: Callable[[], None] | None = None
        self.app_state["connection"] = self

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves the caller that it has gone."""
        super().connection_lost(exc)
        self._turnstile.leave(self._go_on)
        # What has served it knows this connection, and the other way round; together they would stay until garbage is
        # collected, with all that they have read.
        self.app_state.clear()
        if self.scope is not None:
            self.scope["state"].clear()
        self.cycle = self.scope = None  # type: ignore[assignment]  # uvicorn begins so, too
        self.app = self.config.loaded_app
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None
        self._note_lost()

    # --- a request comes ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse a head that does not end."""
        if self._is_wary and self._is_seen_through(data):
            return
        if self.waiting_since_s is None and not self._answering():
            self.waiting_since_s = self.loop.time()
        self._ends = False
        super().data_received(data)
        # Behind the end of a request another may have begun; what came before that is not its own.
        self._message_bytes = 0 if self._ends else self._message_bytes + len(data)
        if self._in_head and max(self._head_bytes, self._message_bytes) > HEAD_BYTES_MAX:
            self.refuse(Code.HEAD_TOO_LARGE)
        elif self._message_bytes > MESSAGE_BYTES_MAX:
            self.refuse(Code.INVALID_HTTP)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._in_head = True
        self._is_wary = False
        self._head_bytes = self._message_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Count the request's target."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; keep it if it may be kept, and is not one that comes after the body.

        There are many of them, and a call of a function for each; what they say is looked at once all are there.
        """
        self._head_bytes += len(name) + len(value) + 4
        if self._in_head and self._head_bytes <= HEAD_BYTES_MAX:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head has ended; the body has a time of its own."""
        self._in_head = False
        self.waiting_since_s = self.loop.time()
        self._check_head()
        if self.refused or self._is_turned_away():
            return
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # the parser takes what follows for another protocol

    def on_body(self, body: bytes) -> None:
        """Pass a piece of a body on, unless the request has been refused."""
        if not self.refused and self._skipped is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; from now on the caller waits for us."""
        self.waiting_since_s = None
        self._ends = True
        if self._skipped is not None:
            self._end_skipping(self._skipped)
        elif not self.refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's words are not ours)
        """Answer what is not HTTP in the shape of every other error."""
        self.refuse(Code.INVALID_HTTP)

    def _unsupported_upgrade_warning(self) -> None:
        """Be silent about a caller who offers another protocol; it is served with this one."""

    # --- what is refused by its head ---------------------------------------------------------------------------

    def _check_head(self) -> None:
        """Refuse what no route could answer; make an answer that HTTP/1.0 can read, if that is spoken."""
        version, method = self.parser.get_http_version(), self.parser.get_method()
        said = dict(self.headers)
        if self._head_bytes > HEAD_BYTES_MAX:
            self.refuse(Code.HEAD_TOO_LARGE)
        elif version not in {"1.1", "1.0"} or not self._names_host(said, version):
            self.refuse(Code.INVALID_HTTP)
        elif b"#" in self.url:
            self.refuse(Code.INVALID_HTTP)  # the parser drops what follows, of which no target has any (RFC 9112, 3.2)
        elif method == b"CONNECT":
            self.refuse(Code.INVALID_HTTP)  # it is for proxies of another kind
        elif self.parser.should_upgrade() and method not in {b"GET", b"HEAD", b"OPTIONS"}:
            self.refuse(Code.UNSUPPORTED_HEADER)  # the parser would lose the body
        elif version == "1.0":
            self.app = _Unframed(self, self.config.loaded_app)
        else:
            self.expect_100_continue = said.get(b"expect", b"").lower() == b"100-continue"

    def _names_host(self, said: dict[bytes, bytes], version: str) -> bool:
        """Return whether `Host` stands there once and can be one; HTTP/1.0 may leave it out."""
        host = said.get(b"host")
        if host is None:
            return version == "1.0"
        is_single = len(said) == len(self.headers) or [name for name, _ in self.headers].count(b"host") == 1
        return is_single and _HOST.fullmatch(host) is not None

    def _is_turned_away(self) -> bool:
        """Refuse what can be refused with one write, as the long way would; return whether it was."""
        if not self._is_judged and self._is_plain():
            method = self.parser.get_method().decode("ascii")
            path = self.url.partition(b"?")[0].decode("ascii", "replace")
            self._skipped = self._turn_away(method, path, self.headers)
        if self._is_judged:
            self.scope["state"]["judged"] = True
            self._is_judged = False
        return self._skipped is not None

    def _is_seen_through(self, data: bytes) -> bool:
        """Refuse another bad key, right after one, at a glance and without the parser; return whether it was."""
        self._is_wary = False
        plain = None if self.flow.write_paused or self.refused else read_plain(data)
        if plain is None:
            return False
        headers = [] if plain.authorization is None else [(b"authorization", plain.authorization)]
        refusal = self._turn_away(plain.method, plain.path, headers)
        if refusal is not None:
            self._end_skipping(refusal)
        return refusal is not None

    def _turn_away(self, method: str, path: str, headers: list[tuple[bytes, bytes]]) -> Refusal | None:
        """Have the gate judge a request, once, and answer it if it is refused."""
        if self._gate is None:
            return None
        try:
            refusal = self._gate.judge(method, path, headers, self.client)
        except Exception:  # noqa: BLE001  (a defect of ours would pass for one of the caller's in the parser's eyes)
            return None  # the long way meets it again, and tells it
        if refusal is None:
            self._is_judged = True
            return None
        more = self.server_state.default_headers
        self.transport.write(self._gate.write(refusal, more, has_body=method != "HEAD"))
        return refusal

    def _is_plain(self) -> bool:
        """Return whether a refusal of this request needs but one write, and leaves the connection as it was."""
        is_plain = self.url[:1] == b"/" and b"%" not in self.url and b"#" not in self.url
        if not is_plain or self.flow.write_paused or self._answering() or not self.parser.should_keep_alive():
            return False
        for name, value in self.headers:
            if name in _TAKES_TIME or (name == b"content-length" and int(value) > SKIPPED_BYTES_MAX):
                return False
        return self.app is self.config.loaded_app

    def _end_skipping(self, refusal: Refusal) -> None:
        """Be ready for the next request, as at the beginning; one who asks too often is not even read for a while."""
        self._skipped = None
        self._in_head = True
        self._head_bytes = 0
        self.waiting_since_s = self.loop.time()
        self._is_wary = self._may_rest()
        if self._is_wary and refusal.code is Code.RATE_LIMIT_EXCEEDED:
            self._rests = True
            self.flow.pause_reading()
        else:
            self._queue_up()

    # --- who has shown a bad key waits -------------------------------------------------------------------------

    def note_bad_key(self) -> None:
        """Wait, once this request is answered, as whoever has shown a bad key."""
        self._has_shown_bad_key = True

    def on_response_complete(self) -> None:
        """Go on with the next request, unless this one has shown a bad key."""
        super().on_response_complete()
        if self._has_shown_bad_key:
            self._has_shown_bad_key = False
            self._queue_up()

    def _queue_up(self) -> None:
        if not self._turnstile.take() and self._may_rest() and not self.flow.read_paused:
            self.flow.pause_reading()
            self._turnstile.wait(self._go_on)

    def _go_on(self) -> None:
        """Be read again, after others."""
        if not self._rests:
            self.flow.resume_reading()

    def _may_rest(self) -> bool:
        """Return whether nobody else has to wait with this caller: a proxy passes on the calls of many."""
        return self._gate is None or self._gate.may_rest(self.client)

    # --- patience ----------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Wait for the caller to read, from now on."""
        super().pause_writing()
        self.stalled_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """The caller has read."""
        super().resume_writing()
        self.stalled_since_s = None

    def check_patience(self, now_s: float, head_s_max: float, body_s_max: float) -> None:
        """Close a connection whose request has been on its way for too long, or whose caller does not read."""
        if self._rests:
            self._rests = False
            self.flow.resume_reading()
        if self.stalled_since_s is not None and now_s - self.stalled_since_s > STALL_S_MAX:
            self.transport.abort()
        if self.waiting_since_s is None:
            return
        patience_s = head_s_max if self._in_head else body_s_max
        if now_s - self.waiting_since_s > patience_s:
            fresh = self._in_head and self._head_bytes == 0
            self.refuse(None if fresh else Code.REQUEST_TIMEOUT)

    def refuse(self, code: Code | None) -> None:
        """Send a last answer, if there is one to give and none is under way, and close."""
        if self.refused or self.transport.is_closing():
            return
        self.refused = True
        is_answered = self._skipped is not None or (self._answering() and self.cycle.response_started)
        if code is not None and not is_answered:
            self.transport.write(last_answer(code, ids.request_id(os.urandom(12))))
        self.transport.close()

    def _answering(self) -> bool:
        """Return whether a request has been taken whose answer is not complete."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete


class _Unframed:
    """The application for a caller of HTTP/1.0: a stream ends with the connection, since it knows of no chunks.

    Args:
        connection: Where it calls.
        app: The application.
    """

    def __init__(self, connection: GuardedProtocol, app: Application) -> None:
        self._connection = connection
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, the only one of its connection."""
        cycle = cast("RequestResponseCycle | None", self._connection.cycle)
        is_unframed = False

        async def send_unframed(message: dict[str, Any]) -> None:
            nonlocal is_unframed
            if cycle is None:
                return  # the connection was lost before anything was asked
            if message["type"] == "http.response.start":
                is_unframed = all(name != b"content-length" for name, _ in message["headers"])
                cycle.chunked_encoding = False if is_unframed else None
            elif is_unframed:
                cycle.expected_content_length = len(message["body"])
            await send(message)

        await self._app(scope, receive, send_unframed)
