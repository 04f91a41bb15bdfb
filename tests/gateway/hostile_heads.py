"""Over a hundred requests that no client means, byte by byte, each with the status and code of its refusal.

Those whose fault is not the key have a good one. Each asks for the connection to be closed behind the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.relay.world import chat_body

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = b"/v1/chat/completions"
BODY = chat_body()
MALFORMED = (400, "invalid_http")
UNKNOWN_KEY = (401, "invalid_api_key")
NO_ROUTE = (404, "unsupported_endpoint")
LATE = (408, "request_timeout")
TOO_MUCH = (431, "head_too_large")

Case = tuple[str, bytes, tuple[int, str]]


def heads(key: str) -> Iterator[Case]:
    """Yield each request, of whoever has this key, with a name and what it is answered."""
    for name, lines in TOKENS.items():
        yield f"key: {name}", chat(*[line.replace(b"{key}", key.encode()) for line in lines]), UNKNOWN_KEY
    bearer = AUTHORIZATION + b"Bearer " + key.encode()
    yield from _framings(bearer)
    yield from _targets(bearer)
    yield from _contents(bearer)
    yield from ((f"not HTTP: {name}", data, MALFORMED) for name, data in NOT_HTTP.items())
    yield from ((f"too large: {name}", data, TOO_MUCH) for name, data in TOO_LARGE.items())
    yield from ((f"slow: {name}", data.replace(b"{bearer}", bearer), LATE) for name, data in SLOW.items())


def _framings(bearer: bytes) -> Iterator[Case]:
    """Yield what says in two ways, or in none, where a request ends."""
    start = (b"POST " + CHAT, b"Host: here", bearer)
    for name, lines in FRAMINGS.items():
        yield f"framing: {name}", head(*start, *lines) + b"5\r\nhello\r\n0\r\n\r\n", MALFORMED
    for name, data in CHUNKS.items():
        yield f"chunks: {name}", head(*start, b"Transfer-Encoding: chunked") + data, MALFORMED
    typed = (*start, b"Content-Type: application/json")
    yield "11 MiB announced", head(*typed, b"Content-Length: 11534336"), (413, "request_too_large")
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    yield "11 MiB in chunks", head(*typed, b"Transfer-Encoding: chunked") + chunk * 11, (413, "request_too_large")


def _targets(bearer: bytes) -> Iterator[Case]:
    """Yield what asks for what is not there, or in another way."""
    for host in HOSTS:
        yield f"host: {host!r}", head(b"GET /v1/models", *host, bearer), MALFORMED
    for path in PATHS:
        yield f"path: {path[:40]!r}", head(b"POST " + path, b"Host: here", bearer, b"Content-Length: 0"), NO_ROUTE
    for path in (b"/v1%2Fmodels", b"/v1/%6dodels", b"/admin%2Fv1/accounts"):
        yield f"path, without a key: {path!r}", head(b"GET " + path, b"Host: here"), NO_ROUTE
    for method in (b"GET", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"PROPFIND", b"PURGE"):
        yield f"method: {method!r}", head(method + b" " + CHAT, b"Host: here", bearer), (405, "method_not_allowed")


def _contents(bearer: bytes) -> Iterator[Case]:
    """Yield header lines that are none, or say what is not taken."""
    for line in HEADER_LINES:
        yield f"header: {line[:40]!r}", head(b"GET /v1/models", b"Host: here", bearer, line), MALFORMED
    for kind in KINDS:
        yield f"type: {kind!r}", chat(bearer, kind=kind), (415, "unsupported_media_type")
    for coding in (b"gzip", b"br", b"deflate", b"zstd", b"identity, gzip", b"x", b""):
        yield f"coding: {coding!r}", chat(bearer, b"Content-Encoding: " + coding), (415, "unsupported_media_type")
    for expected in (b"200-ok", b"100-continue, x", b"x", b""):
        yield f"expect: {expected!r}", chat(bearer, b"Expect: " + expected), (417, "unsupported_expectation")
    for value in (b"", b"a b", b"a" * 256, b"\xc3\xa9"):
        yield f"idempotency key: {value[:20]!r}", chat(bearer, b"Idempotency-Key: " + value), (400, "invalid_value")
    yield "two idempotency keys", chat(bearer, *[b"Idempotency-Key: a"] * 2), (400, "invalid_value")
    yield "another protocol", chat(bearer, b"Upgrade: websocket", close=b"Upgrade"), (400, "unsupported_header")


def chat(*lines: bytes, body: bytes = BODY, kind: bytes = b"application/json", close: bytes = b"close") -> bytes:
    """Return a whole good chat call, but for what these header lines add."""
    end = (b"Content-Type: " + kind, b"Content-Length: %d" % len(body))
    return head(b"POST " + CHAT, b"Host: here", *lines, *end, close=close) + body


def head(target: bytes, *lines: bytes, close: bytes = b"close") -> bytes:
    """Return a request's head."""
    return b"\r\n".join([target + b" HTTP/1.1", *lines, b"Connection: " + close, b"", b""])


AUTHORIZATION = b"Authorization: "
KINDS = (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=b", b"", b"json", b"*/*")
START = b"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n{bearer}\r\n"
TOKENS: dict[str, tuple[bytes, ...]] = {
    "none": (),
    "no token": (AUTHORIZATION + b"Bearer",),
    "another scheme": (AUTHORIZATION + b"Basic {key}",),
    "no scheme": (AUTHORIZATION + b"{key}",),
    "two tokens": (AUTHORIZATION + b"Bearer {key} {key}",),
    "two headers": (AUTHORIZATION + b"Bearer {key}", AUTHORIZATION + b"Bearer {key}"),
    "a good one and a bad one": (AUTHORIZATION + b"Bearer x", AUTHORIZATION + b"Bearer {key}"),
    "a letter more": (AUTHORIZATION + b"Bearer {key}x",),
    "in another header": (b"X-API-Key: {key}",),
    "a key's mask": (AUTHORIZATION + b"Bearer tg-Ab12\xe2\x80\xa6wxyz",),
    "SQL": (AUTHORIZATION + b"Bearer ' OR '1'='1",),
    "more SQL": (AUTHORIZATION + b"Bearer tg-';DROP/**/TABLE/**/api_keys;--",),
    "a union": (AUTHORIZATION + b"Bearer x'UNION/**/SELECT/**/*/**/FROM/**/api_keys--",),
    "a template": (AUTHORIZATION + b"Bearer ${jndi:ldap://x/y}",),
    "a path": (AUTHORIZATION + b"Bearer ../../etc/passwd",),
    "a format": (AUTHORIZATION + b"Bearer %s%n%x{0}",),
    "a wildcard": (AUTHORIZATION + b"Bearer *",),
    "UTF-8": (AUTHORIZATION + "Bearer ключ".encode(),),
    "bytes": (AUTHORIZATION + b"Bearer \xff\xfe",),
    "a JWT": (AUTHORIZATION + b"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",),
    "50 KB": (AUTHORIZATION + b"Bearer " + b"a" * 50_000,),
    "a well-formed stranger": (AUTHORIZATION + b"Bearer tg-0000000000000000000000000000000000000000000gYmUxn",),
}
LENGTH = b"Content-Length: "
FRAMINGS: dict[str, tuple[bytes, ...]] = {
    "length and chunks": (LENGTH + b"5", b"Transfer-Encoding: chunked"),
    "chunks and length": (b"Transfer-Encoding: chunked", LENGTH + b"0"),
    "two lengths": (LENGTH + b"5", LENGTH + b"6"),
    "two equal lengths": (LENGTH + b"5", LENGTH + b"5"),
    "a list of lengths": (LENGTH + b"5, 5",),
    "a sum": (LENGTH + b"+5",),
    "a negative length": (LENGTH + b"-5",),
    "a hexadecimal length": (LENGTH + b"0x5",),
    "a fraction": (LENGTH + b"5.0",),
    "no length": (LENGTH,),
    "words": (LENGTH + b"five",),
    "a length beyond 64 bits": (LENGTH + b"18446744073709551621",),
    "a space before the colon": (b"Content-Length : 5",),
    "chunked is not the last": (b"Transfer-Encoding: chunked, identity",),
    "an unknown coding": (b"Transfer-Encoding: xchunked",),
    "a folded line": (b"Transfer-Encoding:\r\n chunked",),
    "a vertical tab": (b"Transfer-Encoding: \x0bchunked",),
}
CHUNKS = {
    "no number": b"zz\r\nhello\r\n0\r\n\r\n",
    "a negative number": b"-5\r\nhello\r\n0\r\n\r\n",
    "a number with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a number beyond 64 bits": b"1ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "longer than said": b"2\r\nhello\r\n0\r\n\r\n",
    "bare line feeds": b"5\nhello\n0\n\n",
    "a NUL in an extension": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
    "nothing": b"\r\n\r\n",
}
HOSTS = (
    (),
    (b"Host: here", b"Host: there"),
    (b"Host: here", b"Host: here"),
    (b"Host: a b",),
    (b"Host: here/path",),
    (b"Host: user@here",),
    (b"Host: here:port",),
    (b"Host: <script>",),
    (b"Host: [::1",),
    (b"Host: here\\there",),
)
PATHS = (
    *(
        b"/",
        b"//",
        b"/v1",
        b"/v1/",
        b"//v1/chat/completions",
        b"/v1//chat/completions",
        CHAT + b"/",
        b"/V1/chat/completions",
    ),
    *(
        b"/v1/../admin/v1/accounts",
        b"/admin/v1/accounts",
        b"/v1/%2e%2e/admin/v1/accounts",
        CHAT + b"%00",
        CHAT + b"%20",
    ),
    *(
        b"/v1%2Fmodels",
        b"/v1%2fchat%2fcompletions",
        b"/%76%31/models",
        b"/v1/models%2F",
        b"/v1/%63hat/completions",
    ),
    *(
        CHAT + b";a=b",
        CHAT + b"..",
        b"/./v1/chat/completions",
        b"/v1/chat%5ccompletions",
        b"/%76%31/none",
        b"/v1/%ff%fe",
    ),
    *(b"/v1/engines/x/completions", b"/.env", b"/.git/config", b"/wp-login.php", b"/cgi-bin/test.cgi", b"/etc/passwd"),
    *(
        b"/v1/responses",
        b"/v1/embeddings",
        b"/v1/images/generations",
        b"/v1/images/edits",
        b"/v1/videos",
        b"/v1/realtime",
    ),
    *(
        b"/v1/audio/speech",
        b"/v1/audio/transcriptions",
        b"/v1/assistants",
        b"/v1/threads/runs",
        b"/v1/fine_tuning/jobs",
    ),
    *(
        b"/v1/files",
        b"/v1/uploads",
        b"/v1/batches",
        b"/v1/moderations",
        b"/v1/vector_stores",
        b"/v1/containers",
        b"/v1/evals",
    ),
    *(b"/" + b"a" * 60_000, b"/" + b"%41" * 10_000, b"/v1/chat/completions'--", b"/v1/chat/completions<script>"),
)
NOT_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2 by name": b"GET / HTTP/2.0\r\nHost: here\r\n\r\n",
    "HTTP/3": b"GET / HTTP/3.0\r\nHost: here\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: here\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "small letters": b"GET / http/1.1\r\nHost: here\r\n\r\n",
    "a small method": b"get / HTTP/1.1\r\nHost: here\r\n\r\n",
    "a made-up method": b"JUMP / HTTP/1.1\r\nHost: here\r\n\r\n",
    "a proxy's request": b"CONNECT here:443 HTTP/1.1\r\nHost: here:443\r\n\r\n",
    "a NUL in the path": b"GET /\0 HTTP/1.1\r\nHost: here\r\n\r\n",
    "a fragment": b"GET /v1/models#x HTTP/1.1\r\nHost: here\r\n\r\n",
    "an empty fragment": b"GET /v1/models?a=b# HTTP/1.1\r\nHost: here\r\n\r\n",
    "a path that does not begin": b"GET %2Fv1/models HTTP/1.1\r\nHost: here\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: here\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: here\n\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO here\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "JSON": BODY,
    "zeros": bytes(1000),
}
HEADER_LINES = (
    *(
        b"X-Nul: a\0b",
        b"X-Nul\0: a",
        b"No colon",
        b": no name",
        b"X Space: a",
        b"X-Space : a",
        b" X-Fold: a",
        b"X-Cr: a\rb",
    ),
    *(b"X-Bell: a\x07b", b"X-Del: a\x7fb", b"X-\xc3\xa9: a", b"X(Y): a", b'X"Y": a', b"X-Lf: a\nX-B: b"),
)
TOO_LARGE = {
    "1 MB in one header": head(b"GET /v1/models", b"Host: here", b"X-Long: " + b"a" * 10**6),
    "a hundred thousand headers": head(b"GET /v1/models", b"Host: here", *[b"A: b"] * 100_000),
    "a key of 70 KB": chat(AUTHORIZATION + b"Bearer " + b"a" * 70_000),
    "a path of 70 KB": head(b"GET /" + b"a" * 70_000, b"Host: here"),
    "a query of 70 KB": head(b"GET /v1/models?" + b"a" * 70_000, b"Host: here"),
    "a name of 70 KB": head(b"GET /v1/models", b"Host: here", b"a" * 70_000 + b": b"),
}
SLOW = {
    "half a line": START[:20],
    "half a head": START,
    "half a body": START + b"Content-Length: 100\r\n\r\n{",
    "half a chunk": START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe",
    "no end of chunks": START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
}
