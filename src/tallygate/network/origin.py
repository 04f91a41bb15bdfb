"""Where an upstream listens: scheme, host and port, and the bytes that name them in a request.

No sockets, no name resolution, no settings. Invariant: an Origin that exists can be written into
a request as it is; whatever could break a header line is refused when it is made.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}

# Host names and IPv4 addresses, or an IPv6 address without its brackets. Underscores occur in the
# host names of container networks. A name in another script has to be given in its xn-- form.
_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)

# The unreserved and reserved characters of a path (RFC 3986 §3.3) and percent escapes.
_PATH = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Origin:
    """One place to connect to; equal origins share their connections."""

    scheme: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if self.scheme not in PORTS:
            raise ValueError(f"scheme is neither http nor https: {self.scheme!r}")
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"not a host name or an IP address: {self.host!r}")
        if not 0 < self.port < 65536:
            raise ValueError(f"not a TCP port: {self.port}")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """The value of the Host header: a default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> tuple[Self, bytes]:
        """Take a base URL apart into its origin and its path without a closing slash.

        Raises:
            ValueError: the URL is no plain http(s) base URL: it has a user, a query, a fragment,
                no host, or characters that do not belong there. The URL is not repeated in the
                message where it may hold a password.
        """
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("a base URL may not hold a user or a password")
        if parts.query or parts.fragment or url.endswith(("?", "#")):
            raise ValueError(f"a base URL may not hold a query or a fragment: {url!r}")
        if not _PATH.fullmatch(parts.path):
            raise ValueError(f"a base URL's path holds a character that must be escaped: {url!r}")
        if parts.scheme not in PORTS:
            raise ValueError(f"a base URL begins with http:// or https://: {url!r}")
        port = PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, parts.hostname or "", port), parts.path.rstrip("/").encode()
