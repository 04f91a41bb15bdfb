"""How an edge treats slow and malformed clients: sends each probe over a raw socket and prints what comes back.

python benchmarks/edge_probes.py PORT [PATIENCE_S]
"""

from __future__ import annotations

import socket
import sys
import time

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
PROBES = {
    "head that never ends (1 byte at first, then silence)": HEAD[:40],
    "nothing at all after connecting": b"",
    "1 MiB of headers": HEAD + b"X-Long: " + b"a" * 1_048_576 + b"\r\n\r\n",
    "100,000 small headers": HEAD + b"A: b\r\n" * 100_000 + b"\r\n",
    "Content-Length and chunked together": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two different Content-Lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "negative Content-Length": HEAD + b"Content-Length: -1\r\n\r\n",
    "bare LF line ends": HEAD.replace(b"\r\n", b"\n") + b"\n",
    "NUL in a header": HEAD + b"X-Nul: a\0b\r\n\r\n",
    "space before the colon": HEAD + b"X-Odd : b\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "absurd chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
    "body that never comes": HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
}


def probe(port: int, data: bytes, patience_s: float) -> str:
    """Send a probe; return the first line of the answer, or how the connection ended, and after how long."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        try:
            connection.sendall(data)
        except OSError as error:
            return f"reset while sending ({error.__class__.__name__})"
        try:
            answer = connection.recv(65536)
        except TimeoutError:
            return f"still open after {patience_s:.0f} s"
        except OSError:
            return "reset"
    took = time.monotonic() - begun
    line = answer.split(b"\r\n", 1)[0].decode("latin-1") or "closed"
    return line if took < 1 else f"{line} (after {took:.0f} s)"


if __name__ == "__main__":
    for name, data in PROBES.items():
        print(f"{name:55} {probe(int(sys.argv[1]), data, float((sys.argv[2:] or ['15'])[0]))}")
