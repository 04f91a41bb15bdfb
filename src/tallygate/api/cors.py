"""Which web pages may call us from a browser (CORS): by setting, none as shipped.

A page can call with a key that its user gives it, so everything that a caller of any other kind gets is shown to it.
Cookies play no part here, and credentials are never allowed. What may not live here: who may do what; a key decides
that, and a browser's word for an origin is worth nothing against anything but a browser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tallygate.api.headers import HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.api.http import Headers, Request, Response

ANY: Final = "*"

EXPOSED: Final = tuple(HEADERS)
"""The headers of our answers that a page may read, all of the contract's; a browser shows it few others."""

PREFLIGHT_S: Final = 7200
"""How long a browser may keep our word; no browser keeps it longer than this or a day."""

_NAMES: Final = re.compile(rb"[A-Za-z0-9_, -]{1,2048}")


class Cors:
    """Adds to answers what browsers ask for.

    Args:
        origins: The pages that may call, such as `https://chat.example`; or `*` alone for all.
    """

    def __init__(self, origins: frozenset[str]) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self._exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())

    def headers(self, request: Mapping[bytes, bytes]) -> Headers:
        """Return what is added to the answer to a request with these headers."""
        origin = request.get(b"origin")
        if self._any:
            return [] if origin is None else [(b"access-control-allow-origin", b"*"), self._exposed]
        vary = (b"vary", b"Origin")  # also for others: a cache must not give one page the answer to another
        if origin is None or origin not in self._origins:
            return [vary]
        return [vary, (b"access-control-allow-origin", origin), self._exposed]

    def preflight(self, request: Request, response: Response) -> Headers:
        """Return what is added to an answer to OPTIONS, which a browser asks before it lets a page call."""
        asked = request.headers
        is_let = self._any or asked.get(b"origin") in self._origins
        if request.method != "OPTIONS" or not is_let or b"access-control-request-method" not in asked:
            return []
        methods = next(value for name, value in response.headers if name == b"allow")
        headers = [(b"access-control-allow-methods", methods), (b"access-control-max-age", b"%d" % PREFLIGHT_S)]
        names = asked.get(b"access-control-request-headers", b"")
        if _NAMES.fullmatch(names):
            headers.append((b"access-control-allow-headers", names))
        return headers
